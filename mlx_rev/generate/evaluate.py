"""What a model is worth, measured on stories it was never trained on."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from mlx_rev.config import SampleConfig
from mlx_rev.data import bundled
from mlx_rev.errors import ConfigError
from mlx_rev.generate import bootstrap, measures, retrieval
from mlx_rev.generate.bootstrap import Estimate
from mlx_rev.generate.copied import longest_copied
from mlx_rev.generate.judge import Judge
from mlx_rev.generate.measures import EndedStory
from mlx_rev.generate.methods import tell, tell_best
from mlx_rev.generate.teller import Teller
from mlx_rev.text.sentences import last_sentences

Progress = Callable[[str, float], None]
"""Told what is being done and which share of it is done, 0 to 1."""

MODEL, REAL, SHUFFLED = "model", "real", "shuffled"
"""The rows of an evaluation: stories by the model; real ones, as a perfect model would tell; and
real ones each with the ending of another, which are misfits. A story that ignores its ending fits
it by chance, a misfit less often: its own ending is among those that it is told from."""

_BITS = 1 / np.log(2)


@dataclass(frozen=True)
class Measure:
    """Something measured of every story."""

    key: str
    """In JSON."""
    label: str
    percent: bool = False
    """Whether it is a share, to be shown in percent."""
    digits: int = 3
    judged: bool = False
    """Whether it is what a judge says, rather than of the text alone."""


@dataclass(frozen=True)
class Figure:
    """A measure of a row's stories."""

    estimate: Estimate
    values: tuple[float, ...]
    """One for each story."""
    weights: tuple[float, ...]
    """Of each in the estimate: those in bits per byte count by their bytes, others alike."""


@dataclass(frozen=True)
class Evaluation:
    """What was measured, and of which stories."""

    measures: tuple[Measure, ...]
    rows: dict[str, dict[str, Figure]]
    """By row and the key of the measure."""
    stories: tuple[EndedStory, ...]
    """Those that the model told."""
    best: tuple[EndedStory, ...] = ()
    """Each the best of several, if that was measured too."""

    @property
    def chance(self) -> dict[str, float]:
        """What a judge finds in stories that ignore their endings, by the key of the measure."""
        found = retrieval.chance(len(self.stories))
        named = {measure.key for measure in self.measures}
        return {key: value for key, value in found.items() if key in named}


@dataclass(frozen=True, kw_only=True)
class Yardstick:
    """What a model's stories are measured with and against."""

    real: tuple[EndedStory, ...]
    """Held-out stories, as many as there are endings."""
    names: frozenset[str]
    judges: tuple[Judge, ...] = ()
    """The first that reads forwards says which ending belongs to a story."""
    training: Callable[[], Iterable[str]] | None = None
    """Iterates the stories that the model was trained on, where they are known."""


@dataclass
class _Row:
    """What is known so far of one row's stories: by measure, a value for each and its weight."""

    stories: Sequence[EndedStory]
    values: dict[str, np.ndarray] = field(default_factory=dict)
    weights: dict[str, np.ndarray] = field(default_factory=dict)


TEXT_MEASURES = (
    Measure("loops", "a content word over 8%", percent=True, digits=0),
    Measure("commonest_word", "commonest content word", percent=True, digits=1),
    Measure("cut", "not at its beginning", percent=True, digits=0),
    Measure("stray_names", "name missing or changed", percent=True, digits=0),
    Measure("unbalanced_quotes", "quotation left open", percent=True, digits=0),
    Measure("distinct_1", "distinct words", percent=True, digits=1),
    Measure("distinct_2", "distinct pairs of words", percent=True, digits=1),
    Measure("distinct_3", "distinct triples of words", percent=True, digits=1),
    Measure("words", "words", digits=0),
)
TRAINING_MEASURES = (
    Measure("unknown_words", "words not in the training text", percent=True, digits=2),
    Measure("copied", "longest copied run, in words", digits=1),
)


def held_out(stories: Iterable[str], count: int) -> tuple[EndedStory, ...]:
    """The first `count` stories that end differently and have something before the ending.

    The ending of a bundled story is its plot's; of others it is their last sentence.
    """
    of_plot = {story.text: story.ending for story in bundled.stories("valid")}
    chosen: dict[str, EndedStory] = {}
    for text in stories:
        story = EndedStory(text, of_plot.get(text) or last_sentences(text))
        if story.body:
            chosen.setdefault(story.ending, story)
        if len(chosen) == count:
            break
    return tuple(chosen.values())


def evaluate(
    teller: Teller,
    endings: Sequence[str],
    yardstick: Yardstick,
    settings: SampleConfig,
    progress: Progress = lambda stage, share: None,
    *,
    best_of: int = 1,
    chooser: Judge | None = None,
) -> Evaluation:
    """Tell one story for each ending, and measure them beside real ones and shuffled ones.

    With `best_of` there is one row more: for each ending the best of so many other stories, chosen
    as `rerank` does, by `chooser` if there is one, which should be none of the judges.

    Story i has the seed `settings.seed` + i; the bootstrap and the shuffle have it too, so that
    the same arguments give the same figures. With a forward judge the cost is that of reading
    each body once and every ending after every body, for the model's stories and the real ones.
    Raises RevError.
    """
    if not teller.grows_leftwards:
        raise ConfigError("a forward model takes no endings; evaluate a backward one")
    _check_count(MODEL, endings, yardstick)
    told = tell(teller, endings, settings, partial(progress, "telling"))
    best: tuple[EndedStory, ...] = ()
    if best_of > 1:
        watched = partial(progress, f"telling {best_of} stories for each ending")
        best = tell_best(teller, endings, settings, best_of, chooser, watched)
    return measure(told, yardstick, settings.seed, progress, best, f"best of {best_of}")


def measure(
    told: Sequence[EndedStory],
    yardstick: Yardstick,
    seed: int = 0,
    progress: Progress = lambda stage, share: None,
    best: Sequence[EndedStory] = (),
    best_name: str = "best",
) -> Evaluation:
    """Measure stories, however they came about, beside real ones and shuffled ones; `best` are
    others for the same endings, in a row of their own."""
    rows = {MODEL: told, **({best_name: best} if best else {})}
    named, figures = measure_rows(rows, yardstick, seed, progress, references=True)
    return Evaluation(named, figures, tuple(told), tuple(best))


def measure_rows(
    rows: Mapping[str, Sequence[EndedStory]],
    yardstick: Yardstick,
    seed: int = 0,
    progress: Progress = lambda stage, share: None,
    *,
    references: bool,
) -> tuple[tuple[Measure, ...], dict[str, dict[str, Figure]]]:
    """What is measured, and the figures of each row of stories by the key of the measure; with
    `references` also of the real stories and the shuffled ones. Raises ConfigError where rows have
    not as many stories as there are real ones: of more endings each is harder to tell."""
    for name, stories in rows.items():
        _check_count(name, stories, yardstick)
    others = retrieval.dealt_out(len(yardstick.real), seed)
    known = {name: _Row(stories) for name, stories in rows.items()}
    if references:
        known[REAL] = _Row(yardstick.real)
        known[SHUFFLED] = _Row(_exchanged(yardstick.real, others))
    named = _judge(known, yardstick.judges, others, progress)
    for row in known.values():
        _read(row, yardstick.names)
    named += TEXT_MEASURES
    if yardstick.training is not None:
        _compare(list(known.values()), yardstick.training(), progress)
        named += TRAINING_MEASURES
    return named, {name: _figures(row, named, seed) for name, row in known.items()}


def _check_count(name: str, stories: Sequence[object], yardstick: Yardstick) -> None:
    if len(stories) != len(yardstick.real):
        raise ConfigError(f"{name}: {len(stories)} stories beside {len(yardstick.real)} real ones")


def _exchanged(real: Sequence[EndedStory], others: np.ndarray) -> list[EndedStory]:
    endings = [real[other].ending for other in others]
    return [
        EndedStory(f"{story.body} {ending}", ending)
        for story, ending in zip(real, endings, strict=True)
    ]


def _judge(
    rows: dict[str, _Row], judges: Sequence[Judge], others: np.ndarray, progress: Progress
) -> tuple[Measure, ...]:
    """Add what judges say to rows; the measures that they added."""
    named: list[Measure] = []
    forward = next((judge for judge in judges if judge.forward), None)
    if forward is not None:
        named += _retrieve(rows, forward, others, progress)
    for number, judge in enumerate(judges):
        key = "bits_per_byte" + (f"_{number + 1}" if number else "")
        label = "bits per byte" + (f", judge {number + 1}" if number else "")
        named.append(Measure(key, label, judged=True))
        for name, row in rows.items():
            texts = [story.text for story in row.stories]
            stage = f"judging {name} stories"
            nats = judge.text_nats(texts, partial(progress, stage))
            _in_bits(row, key, nats, texts)
    return tuple(named)


def _retrieve(
    rows: dict[str, _Row], judge: Judge, others: np.ndarray, progress: Progress
) -> list[Measure]:
    """Add to rows how well a judge can tell which ending belongs to which story."""
    for name, row in rows.items():
        if name == SHUFFLED:
            continue
        stories = row.stories
        stage = f"matching {name} stories with {len(stories)} endings"
        nats = judge.ending_nats(
            [story.body for story in stories],
            [story.ending for story in stories],
            partial(progress, stage),
        )
        _ranked(row, nats)
    if SHUFFLED in rows:
        # The real ones come last: the same bodies and endings, paired otherwise.
        _ranked(rows[SHUFFLED], nats[:, others])
    return [
        Measure("retrieved", "ending recognised (R@1)", True, 0, judged=True),
        Measure("reciprocal_rank", "mean reciprocal rank", digits=2, judged=True),
        Measure("ending_bits_per_byte", "bits per byte of the ending", judged=True),
    ]


def _ranked(row: _Row, nats: np.ndarray) -> None:
    ranks = retrieval.ranks(retrieval.scores(nats))
    row.values |= {"retrieved": ranks == 1, "reciprocal_rank": 1 / ranks}
    _in_bits(row, "ending_bits_per_byte", np.diag(nats), [story.ending for story in row.stories])


def _in_bits(row: _Row, key: str, nats: np.ndarray, texts: Sequence[str]) -> None:
    size = np.array([len(text.encode()) for text in texts], float)
    row.values[key], row.weights[key] = nats * _BITS / size, size


def _read(row: _Row, names: frozenset[str]) -> None:
    """Add to a row what the text alone says."""
    stories = row.stories
    shares = np.array([measures.commonest_share(story) for story in stories])
    row.values |= {
        "loops": shares > measures.LOOP_SHARE,
        "commonest_word": shares,
        "cut": np.array([not story.whole for story in stories]),
        "stray_names": np.array([measures.has_stray_name(story, names) for story in stories]),
        "unbalanced_quotes": np.array([measures.has_unbalanced_quotes(story) for story in stories]),
        "words": np.array([len(measures.words_of(story.text)) for story in stories]),
    } | {
        f"distinct_{n}": np.array([measures.distinct(story, n) for story in stories])
        for n in (1, 2, 3)
    }


def _compare(rows: Sequence[_Row], training: Iterable[str], progress: Progress) -> None:
    """Add to rows what the training text says of them, in one pass over it."""
    bodies = [measures.words_of(story.body) for row in rows for story in row.stories]
    vocabulary: set[str] = set()

    def read() -> Iterator[list[str]]:
        for number, text in enumerate(training):
            if number % 1000 == 0:
                progress(f"reading the training text, {number:,} stories", 0.0)
            found = measures.words_of(text)
            vocabulary.update(found)
            yield found

    copied = longest_copied(bodies, read())
    known, start = frozenset(vocabulary), 0
    for row in rows:
        row.values["copied"] = copied[start : start + len(row.stories)]
        start += len(row.stories)
        row.values["unknown_words"] = np.array(
            [measures.unknown_share(story, known) for story in row.stories]
        )


def _figures(row: _Row, named: Sequence[Measure], seed: int) -> dict[str, Figure]:
    drawn = bootstrap.resamples(len(row.stories), seed)
    alike = np.ones(len(row.stories))
    figures = {}
    for key in (one.key for one in named):
        values, weights = row.values[key], row.weights.get(key, alike)
        found = bootstrap.estimate(values, weights, drawn)
        figures[key] = Figure(found, tuple(map(float, values)), tuple(weights.tolist()))
    return figures
