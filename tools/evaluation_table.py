"""Is it worth choosing among stories, and how? Told from the same endings, in every way there is.

    python tools/evaluation_table.py --model MODEL --judge stories260K.bin \\
        --judge-tokenizer tok512.bin --valid valid.txt

MODEL knows both directions; of one that only reads backwards, --forward gives the other half. It
proposes and it chooses; the judge, which had no part in it, measures. Each row is written to --out
as soon as it is done, and what is there for the same arguments is not done again; at the end
docs/evaluation.md is written from it. About ten minutes of one core for 100 endings and a model of
1.5 million parameters.
"""

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import tyro
from evaluation_report import LABELS, write_report

from mlx_rev import files
from mlx_rev.data.sources.story_files import read_stories
from mlx_rev.errors import ConfigError, RevError
from mlx_rev.estimate import parameters
from mlx_rev.generate.evaluate import REAL, SHUFFLED, Figure, Yardstick, held_out, measure_rows
from mlx_rev.generate.judge import Judge, ModelJudge, judge_of, load_judge
from mlx_rev.generate.measures import EndedStory, known_names
from mlx_rev.generate.methods import best_opening, best_ranked, ended, tell, tell_several
from mlx_rev.generate.narrowing import Narrowing
from mlx_rev.generate.rerank import Candidate, likeliest, ranked
from mlx_rev.generate.story import Story
from mlx_rev.generate.teller import Teller, load

ROOT = Path(__file__).resolve().parents[1]
SMALLER, ONE, LIKELIEST, BOTH_WAYS, JUDGED, OPENINGS = (
    "smaller", "one", "likeliest", "both_ways", "judged", "openings",
)  # fmt: skip
"""The rows, besides real and shuffled stories."""
COST, TRAINING = "cost", "training"
_TIMED = 5
"""Stories that are told one by one, to see what each takes."""

Row = tuple[Sequence[EndedStory], float]
"""Stories, and the CPU seconds that each took."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What is measured, with what, and where to."""

    model: str | None = None
    """Both directions, or backward; by default the built-in model."""
    forward: str | None = None
    """A forward model, for one that only reads backwards: its other half."""
    judge: str
    """A forward model that had no part in any of it: it measures."""
    judge_tokenizer: Path | None = None
    """Its vocabulary, and that of --forward, if they come without one."""
    valid: Path
    """Held-out stories."""
    seed: int = 0
    """Of stories, of the shuffle and of the bootstrap."""
    out: Path = ROOT / "docs" / "evaluation"
    """Where what is done is kept."""
    report: Path = ROOT / "docs" / "evaluation.md"
    """What is written from it."""

    def load(self) -> tuple[Teller, Teller | None, ModelJudge]:
        """Model, its forward half and judge. Raises ConfigError where one reads the wrong way."""
        teller = load(self.model)
        if not teller.grows_leftwards:
            raise ConfigError(f"--model {self.model}: expected one that reads backwards")
        forward = teller.opposite
        if self.forward is not None:
            forward = load(self.forward, tokenizer=self.judge_tokenizer)
        judge = load_judge(self.judge, self.judge_tokenizer)
        if not judge.forward:
            raise ConfigError(f"--judge {self.judge}: expected one that reads forwards")
        return teller, forward, judge

    def about(self, teller: Teller, count: int) -> dict[str, Any]:
        """What results depend on, so that none is taken for that of another run."""
        weight = teller.model.output_weight  # as a checkpoint goes on being trained
        return {
            "model": self.model or "the built-in model",
            "parameters": parameters(teller.model.config),
            "weights": f"{float(weight.sum()):.6g} {float((weight * weight).sum()):.6g}",
            "forward": self.forward,
            "judge": Path(self.judge).name,
            "valid": self.valid.name,
            "count": count,
            "seed": self.seed,
        }


@dataclass(frozen=True, kw_only=True)
class Options(Measured):
    """Is it worth choosing among stories, and how?"""

    count: int = 100
    """Endings."""
    best_of: int = 16
    """Stories to choose from."""
    smaller: str | None = None
    """A smaller model that reads backwards, for a row of its own."""
    training: str | None = None
    """The stories that it was trained on: what is copied from them, which words they lack."""
    weight: float = 0.25
    """Of a story's own likelihood beside that under its forward half; tools/evaluation_weight.py
    chooses it."""


class Watch:
    """Says once for each stage how long it will take."""

    def __init__(self) -> None:
        self._stage, self._began = "", time.monotonic()

    def __call__(self, stage: str, share: float) -> None:
        """Take note of a share, 0 to 1."""
        stage = stage.partition(",")[0]
        if stage != self._stage.removesuffix("."):
            self._stage, self._began = stage, time.monotonic()
        elif 0.05 <= share < 1 and not self._stage.endswith("."):
            seconds = (time.monotonic() - self._began) / share
            say(f"{stage}: about {seconds:.0f} s")
            self._stage += "."

    def of(self, stage: str) -> Callable[[float], None]:
        """It, for one stage."""
        return lambda share: self(stage, share)


def main() -> None:
    """Make the rows that are not there, and write the report."""
    options = tyro.cli(Options, description=__doc__)
    try:
        make_rows(options)
        write_report(options.out, options.report)
    except RevError as error:
        raise SystemExit(f"evaluation_table: {error}") from error
    say(f"written: {options.report}")


def make_rows(options: Options) -> None:
    """Tell, measure and write every row that is not there."""
    teller, forward, judge = options.load()
    stories = list(read_stories(str(options.valid)))
    real = held_out(stories, options.count)
    names = known_names([*stories, *(story.ending for story in real)])
    yardstick = Yardstick(real=real, names=names, judges=(judge,))
    about_all = _about(options, teller, len(real))
    watch = Watch()

    def about(name: str) -> dict[str, Any]:
        return about_all | ({"smaller": options.smaller} if name == SMALLER else {})

    def missing(*names: str) -> bool:
        return any(_about_in(options.out / f"{name}.json") != about(name) for name in names)

    def write(rows: Mapping[str, Row], *, references: bool = False) -> None:
        told = {name: stories for name, (stories, _) in rows.items()}
        _, figures = measure_rows(told, yardstick, options.seed, watch, references=references)
        for name, own in figures.items():
            told_there, seconds = rows.get(name, (real, 0.0))
            content = {"row": name, "about": about(name), "cpu_seconds": round(seconds, 3)}
            content |= {"figures": {key: _plain(figure) for key, figure in own.items()}}
            content |= {"stories": [asdict(story) for story in told_there]}
            files.write_text(
                options.out / f"{name}.json", json.dumps(content, ensure_ascii=False) + "\n"
            )
            say(f"{name}: done")

    if missing(REAL, SHUFFLED):
        write({}, references=True)
    for names_of_rows, make in _methods(options, teller, forward, real, watch):
        if missing(*names_of_rows):
            write(make())
    if missing(COST):
        endings = [story.ending for story in real[:_TIMED]]
        content = {"about": about(COST), "ways": cost(options, teller, forward, endings)}
        files.write_text(options.out / f"{COST}.json", json.dumps(content, indent=1) + "\n")
        say(f"{COST}: done")
    if options.training is not None:
        rows = [path.stem for path in _rows_in(options.out)]
        about_training = about(SMALLER) | {"training": Path(options.training).name, "rows": rows}
        if _about_in(options.out / f"{TRAINING}.json") != about_training:
            content = {"about": about_training, "rows": with_training(options, yardstick, watch)}
            files.write_text(options.out / f"{TRAINING}.json", json.dumps(content, indent=1) + "\n")
            say(f"{TRAINING}: done")


def with_training(
    options: Options, yardstick: Yardstick, watch: Watch
) -> dict[str, dict[str, dict[str, float]]]:
    """Of each row that is there, what the training text says of its stories."""
    told = {
        path.stem: [EndedStory(**story) for story in json.loads(path.read_text())["stories"]]
        for path in _rows_in(options.out)
    }
    alone = replace(yardstick, judges=(), training=lambda: read_stories(str(options.training)))
    _, figures = measure_rows(told, alone, options.seed, watch, references=False)
    return {
        name: {key: vars(row[key].estimate) for key in ("unknown_words", "copied")}
        for name, row in figures.items()
    }


def _rows_in(folder: Path) -> list[Path]:
    """The files of the rows that are there, by name."""
    return [path for path in sorted(folder.glob("*.json")) if path.stem in LABELS]


def cost(
    options: Options, teller: Teller, forward: Teller | None, endings: Sequence[str]
) -> dict[str, dict[str, float]]:
    """What a story by itself takes in each way, in turns: CPU seconds in all and until its first
    words are there, and tokens."""
    judge = judge_of(forward, turned=False) if forward else None
    ways: dict[str, Callable[[str], Iterator[Sequence[Story]]]] = {
        ONE: lambda ending: _written(teller, [ending]),
        JUDGED: lambda ending: _chosen(teller, [ending] * options.best_of, judge),
    }
    sums = {name: {"seconds": 0.0, "first": 0.0, "tokens": 0.0} for name in ways}
    for number, ending in enumerate(("Warm.", *endings)):
        for name, way in ways.items():
            began, first, stories = time.process_time(), 0.0, cast(Sequence[Story], ())
            for stories in way(ending):
                if not first and any(story.generated.strip() for story in stories):
                    first = time.process_time() - began
            if number:
                sums[name]["seconds"] += (time.process_time() - began) / len(endings)
                sums[name]["first"] += first / len(endings)
                tokens = sum(len(story.tokens) for story in stories)
                sums[name]["tokens"] += tokens / len(endings)
    return sums


def _written(teller: Teller, endings: Sequence[str]) -> Iterator[Sequence[Story]]:
    stories = teller.begin(endings)
    return (stories for _ in teller.write(stories))


def _chosen(
    teller: Teller, endings: Sequence[str], judge: Judge | None
) -> Iterator[Sequence[Story]]:
    stories = teller.begin(endings)
    narrowing = Narrowing(teller.codec, judge)
    for _ in teller.write(stories):
        narrowing(stories)
        yield stories
    ranked(teller.model, teller.codec, narrowing(stories), judge)


def _methods(
    options: Options,
    teller: Teller,
    forward: Teller | None,
    real: Sequence[EndedStory],
    watch: Watch,
) -> Iterator[tuple[tuple[str, ...], Callable[[], dict[str, Row]]]]:
    """Rows by name, and what makes them."""
    endings, count = [story.ending for story in real], options.best_of
    # Seeds of the rows are apart, so that no story stands in two of them by chance.
    settings = replace(teller.settings, seed=options.seed)
    apart = replace(settings, seed=options.seed + len(endings))

    def one() -> dict[str, Row]:
        began = time.process_time()
        told = tell(teller, endings, settings, watch.of("one story each"))
        return {ONE: (told, _each(began, endings))}

    def smaller() -> dict[str, Row]:
        began, small = time.process_time(), load(options.smaller)
        own = replace(small.settings, seed=options.seed)
        told = tell(small, endings, own, watch.of("one story each by --smaller"))
        return {SMALLER: (told, _each(began, endings))}

    def several() -> dict[str, Row]:
        began = time.process_time()
        stage = watch.of(f"{count} stories each")
        told = tell_several(teller, endings, count, apart, stage)
        seconds = _each(began, endings)
        rows: dict[str, Row] = {LIKELIEST: ([ended(likeliest(own)) for own in told], seconds)}
        if forward is not None:
            began, judge = time.process_time(), judge_of(forward, turned=False)
            best = [best_ranked(teller, own, judge) for own in told]
            rows[JUDGED] = best, seconds + _each(began, endings)
            began = time.process_time()
            all_ranked = [ranked(teller.model, teller.codec, own, judge) for own in told]
            best = [likeliest_both_ways(own, options.weight) for own in all_ranked]
            rows[BOTH_WAYS] = best, seconds + _each(began, endings)
        return rows

    if options.smaller is not None:
        yield (SMALLER,), smaller
    yield (ONE,), one
    yield (LIKELIEST, *((JUDGED, BOTH_WAYS) if forward else ())), several
    if forward is None:
        say("without a forward half, nothing is chosen by a judge: give --forward")
        return
    forwards = forward

    def openings() -> dict[str, Row]:
        began = time.process_time()
        own = replace(forwards.settings, seed=options.seed)
        stage = watch.of(f"{count} openings each")
        told = tell_several(forwards, [""] * len(endings), count, own, stage)
        pairs = zip(told, endings, strict=True)
        best = [best_opening(forwards, stories, ending) for stories, ending in pairs]
        return {OPENINGS: (best, _each(began, endings))}

    yield (OPENINGS,), openings


def likeliest_both_ways(candidates: Sequence[Candidate], weight: float) -> EndedStory:
    """The story that is likeliest under the judge and, with a weight, under its own model, both for
    each byte: log P_forward + weight * log P_backward."""
    return ended(
        min(
            candidates,
            key=lambda own: (own.judge_bits_per_byte or 0) + weight * own.bits_per_byte,
        ).story
    )


def _each(began: float, endings: Sequence[str]) -> float:
    """CPU seconds since then, for each ending."""
    return (time.process_time() - began) / len(endings)


def _about(options: Options, teller: Teller, count: int) -> dict[str, Any]:
    """What a row depends on."""
    settings = {key: value for key, value in vars(teller.settings).items() if key != "seed"}
    own = {"best_of": options.best_of, "weight": options.weight, "settings": settings}
    return options.about(teller, count) | own


def _about_in(path: Path) -> dict[str, Any] | None:
    if not path.exists():
        return None
    content: dict[str, Any] = json.loads(path.read_text())["about"]
    return content


def _plain(figure: Figure) -> dict[str, Any]:
    estimate = {key: float(f"{value:.6g}") for key, value in vars(figure.estimate).items()}
    values = [float(f"{value:.6g}") for value in figure.values]
    return {**estimate, "values": values, "weights": list(figure.weights)}


def say(text: str) -> None:
    """Print with the time, at once."""
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


if __name__ == "__main__":
    main()
