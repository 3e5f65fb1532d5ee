"""Do a beginning and an ending meet? Held-out stories give both, and the seam is measured.

    python tools/meeting_table.py --model MODEL --judge stories260K.bin \\
        --judge-tokenizer tok512.bin --valid valid.txt

MODEL knows both directions; of one that only reads backwards, --forward gives the other half. Each
meeting is written to --out/meetings.json as soon as it is told, and is not told again by the same
arguments; then all are measured, and docs/evaluation.md is written. About ten minutes of one core
for 50 pairs and a model of 1.5 million parameters.
"""

import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import tyro
from evaluation_report import write_report
from evaluation_table import Measured, Watch, say

from mlx_rev import files
from mlx_rev.data.sources.story_files import read_stories
from mlx_rev.errors import ConfigError, RevError
from mlx_rev.generate import bootstrap, retrieval
from mlx_rev.generate.evaluate import held_out
from mlx_rev.generate.infill import SEEDS_OF_MEETING, meet, paired_surprise
from mlx_rev.generate.judge import ModelJudge, judge_of
from mlx_rev.generate.teller import Teller
from mlx_rev.text.sentences import first_sentences, sentence_starts

_SENTENCES = 4
"""A story has to have, so that something lies between."""
_BOUNDARIES = 6
"""Of each real story that are measured, drawn by chance."""
_SHOWN = 160
"""Characters of a long rest that a beginning has to be recognised by, to the end of a sentence."""


@dataclass(frozen=True, kw_only=True)
class Options(Measured):
    """Do a beginning and an ending meet?"""

    count: int = 50
    """Pairs of a beginning and an ending."""


@dataclass(frozen=True)
class Parts:
    """A story on both sides of a seam."""

    beginning: str
    before: str
    after: str
    ending: str

    @property
    def left(self) -> str:
        """Up to the seam."""
        return self.beginning + self.before

    @property
    def right(self) -> str:
        """From the seam on."""
        return self.after + self.ending


def main() -> None:
    """Tell what is not there, measure, and write the report."""
    options = tyro.cli(Options, description=__doc__)
    try:
        tell_and_measure(options)
        write_report(options.out, options.report)
    except RevError as error:
        raise SystemExit(f"meeting_table: {error}") from error
    say(f"written: {options.report}")


def tell_and_measure(options: Options) -> None:
    """Make meetings.json."""
    backward, forward, judge = options.load()
    if forward is None:
        raise ConfigError("the model only reads one way; give --forward")
    real = real_parts(list(read_stories(str(options.valid))), options.count)
    target = options.out / "meetings.json"
    about = options.about(backward, len(real))
    content: dict[str, Any] = {"about": about, "meetings": []}
    if target.exists():
        found = json.loads(target.read_text())
        content = found if found["about"] == about else content

    def write() -> None:
        files.write_text(target, json.dumps(content, indent=1, ensure_ascii=False) + "\n")

    watch, meetings = Watch(), content["meetings"]
    for number in range(len(meetings), len(real)):
        meetings.append(_told(backward, forward, real[number], options.seed, number))
        write()
        watch("meetings", (number + 1) / len(real))
    if "summary" not in content:
        chosen = judge_of(forward, turned=False), judge_of(backward, turned=False)
        content["summary"] = summary(real, meetings, chosen, judge, options.seed)
        write()


def _told(backward: Teller, forward: Teller, pair: Parts, seed: int, number: int) -> dict[str, Any]:
    settings = replace(backward.settings, seed=seed + number * SEEDS_OF_MEETING)
    began = time.process_time()
    met = meet(backward, forward, pair.beginning, pair.ending, settings)
    return {**asdict(met), "cpu_seconds": round(time.process_time() - began, 2)}


def real_parts(stories: Sequence[str], count: int) -> list[Parts]:
    """The first `count` stories of enough sentences that end differently, cut at the sentence in
    the middle of what lies between the first sentence and the ending."""
    found = []
    for story in held_out(stories, len(stories)):
        starts = sentence_starts(story.text)
        last = len(story.text) - len(story.ending)
        between = [start for start in starts[1:] if start <= last]
        if len(starts) < _SENTENCES or len(between) < _SENTENCES - 1 or between[-1] != last:
            continue
        first, middle = between[0], between[len(between) // 2]
        text = story.text
        found.append(Parts(text[:first], text[first:middle], text[middle:last], text[last:]))
        if len(found) == count:
            return found
    raise ConfigError(f"{len(found)} held-out stories of {_SENTENCES} sentences, expected {count}")


def summary(
    real: Sequence[Parts],
    meetings: Sequence[dict[str, Any]],
    own: tuple[ModelJudge, ModelJudge],
    judge: ModelJudge,
    seed: int,
) -> dict[str, Any]:
    """What is measured of all meetings; `own` reads forwards and backwards and chose them."""
    told = [Parts(*(met[key] for key in Parts.__dataclass_fields__)) for met in meetings]
    say("measuring the seams")  # which are good is kept of each, so that rows can be paired
    boundaries = [cut for parts in real for cut in _boundaries(parts.left + parts.right, seed)]
    most, by_judge = (np.quantile(_seams(readers, boundaries), 0.9) for readers in (own, (judge,)))
    seams = []
    for label, pairs in (
        ("meetings", [(parts.left, parts.right) for parts in told]),
        ("random seams", _exchanged(told, seed)),
        ("real stories, in their middle", [(parts.left, parts.right) for parts in real]),
        ("real stories, each with another's end", _exchanged(real, seed)),
    ):
        values, judged = _seams(own, pairs), _seams((judge,), pairs)
        seams.append(
            {
                "label": label,
                "own": (values <= most).astype(int).tolist(),
                "judge": (judged <= by_judge).astype(int).tolist(),
                "median": float(np.median(values)),
            }
        )
    say("recognising beginnings and endings")
    return {
        "count": len(told),
        "boundaries": len(boundaries),
        "seams": seams,
        "retrieval": [
            {"label": label, **_recognised(parts, judge)}
            for label, parts in (("meetings", told), ("real stories", real))
        ],
        "cpu_seconds": float(np.mean([met["cpu_seconds"] for met in meetings])),
        "rounds": float(np.mean([met["rounds"] for met in meetings])),
        "good": float(np.mean([met["good"] for met in meetings])),
    }


def _boundaries(text: str, seed: int) -> list[tuple[str, str]]:
    """A text cut at some of the boundaries between its sentences."""
    starts = sentence_starts(text)[1:]
    count = min(len(starts), _BOUNDARIES)
    chosen = np.random.default_rng([seed, len(text)]).choice(starts, count, replace=False)
    return [(text[:cut], text[cut:]) for cut in chosen.tolist()]


def _exchanged(parts: Sequence[Parts], seed: int) -> list[tuple[str, str]]:
    """Each left side with the right side of another."""
    others = retrieval.dealt_out(len(parts), seed)
    return [(own.left, parts[other].right) for own, other in zip(parts, others, strict=True)]


def _seams(judges: Sequence[ModelJudge], pairs: Sequence[tuple[str, str]]) -> np.ndarray:
    """The surprise at each seam, in bits per byte."""
    *_, found = paired_surprise(judges, *zip(*pairs, strict=True))
    return found


def _recognised(parts: Sequence[Parts], judge: ModelJudge) -> dict[str, list[float]]:
    """How often a judge that reads forwards tells which ending or beginning belongs to a rest:
    mean and interval. A long rest is shown by the sentences next to a beginning."""
    endings = [own.ending.strip() for own in parts]
    beginnings = [own.beginning.strip() for own in parts]
    found = {}
    for key, rests in (
        ("ending", [f"{own.left}{own.after}".strip() for own in parts]),
        ("ending_across", [own.left.strip() for own in parts]),
    ):
        nats = judge.ending_nats(rests, endings)
        found[key] = retrieval.ranks(retrieval.scores(nats)) == 1
    for key, rests in (
        ("beginning", [first_sentences(f"{own.before}{own.right}", _SHOWN) for own in parts]),
        ("beginning_across", [first_sentences(own.right, _SHOWN) for own in parts]),
    ):
        # What is to be explained is the same for all beginnings: their likelihoods compare.
        found[key] = retrieval.ranks(-judge.adjoining_nats(beginnings, rests).T) == 1
    estimates = {key: bootstrap.share(float(hits.mean()), len(hits)) for key, hits in found.items()}
    return {key: [one.mean, one.low, one.high] for key, one in estimates.items()}


if __name__ == "__main__":
    main()
