"""What the study's results carry, in words: each sentence follows from the results there are."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from study_arms import ENDINGS

from mlx_rev.generate import bootstrap

Result = Mapping[str, Any]
Found = Mapping[str, Sequence[Result]]
"""The results of one size, by the name of the arm."""

_ENOUGH = 2
"""Seeds: of fewer nothing is known of how they differ."""
_MISSING = ": not measured yet."
_CHANCE = 1 / ENDINGS

LIMITS = f"""\
## Limits

- Models of 0.3 and 1.5 million parameters that see a part of their training text once: the tables
  say how many epochs. Larger or longer trained ones may differ otherwise.
- All arms see as many tokens, not as much text: how many bytes a token stands for is in the tables.
  As stories of other lengths fill rows otherwise, an arm's rows hold other stories than the next
  one's. That is chance, which the seeds vary, and part of their spread.
- The intervals are of drawing other held-out stories or endings, not of drawing other seeds. A
  difference is called one here if its interval leaves out zero **and** it has the same sign in
  each of two seeds or more.
- "Ending first" pays for its ending twice, although a perfect reader would get the second for
  nothing; "fill in the middle" is scored on stories as they stand, which are half of what it
  trained on. Both are what such a model costs as a model of stories, not a fault of the measure.
- Text by word order hangs the space between two words on other tokens than forward text does. So
  the parts by class and by form sum to the whole in each arm, but the gap's bits move between them.
- Which ending belongs to a story is said by one judge, of 0.26 million parameters. How often it is
  right about the real stories stands beside the others; chance is 1 in {ENDINGS}.
"""


@dataclass(frozen=True)
class Difference:
    """How many more bits one arm takes than another, as a share."""

    mean: float
    low: float
    high: float
    """The interval of drawing other stories."""
    each: tuple[float, ...]
    """By seed."""

    @property
    def is_shown(self) -> bool:
        """Whether it may be claimed."""
        signs = {value > 0 for value in self.each}
        apart = self.low > 0 or self.high < 0
        return apart and len(self.each) >= _ENOUGH and len(signs) == 1

    @property
    def interval(self) -> str:
        """Mean and interval."""
        return f"{self.mean:+.1%} ({self.low:+.1%} to {self.high:+.1%})"

    @property
    def seeds(self) -> str:
        """The smallest and the largest in a seed."""
        if len(self.each) == 1:
            return "one seed"
        return f"{min(self.each):+.1%} to {max(self.each):+.1%}"


def difference(
    own: Sequence[Result], other: Sequence[Result], key: str = "bits", other_key: str = "bits"
) -> Difference | None:
    """Of two arms, paired by story and seed; None where they share no seed."""
    others = {result["seed"]: result for result in other if other_key in result}
    pairs = [
        (result[key]["stories"], others[result["seed"]][other_key]["stories"])
        for result in own
        if key in result and result["seed"] in others
    ]
    if not pairs:
        return None
    bits = np.array(pairs).mean(axis=0)
    drawn = bootstrap.resamples(bits.shape[1], 0)
    ratio = bits[0][drawn].sum(axis=1) / bits[1][drawn].sum(axis=1) - 1
    low, high = np.quantile(ratio, [0.025, 0.975])
    each = tuple(float(np.sum(one) / np.sum(two) - 1) for one, two in pairs)
    return Difference(float(bits[0].sum() / bits[1].sum() - 1), float(low), float(high), each)


def ending_figure(results: Sequence[Result], key: str) -> tuple[float, float, float]:
    """Mean and interval of what was measured of stories told from endings, over the seeds."""
    mean, low, high = np.mean([result["endings"][key] for result in results], axis=0).tolist()
    return mean, low, high


@dataclass(frozen=True)
class _Comparison:
    """A part of a question that two arms answer."""

    what: str
    own: str
    other: str
    key: str = "bits"


_QUESTIONS: tuple[tuple[str, tuple[_Comparison, ...]], ...] = (
    (
        "What does reversal itself cost?",
        (_Comparison("token order, the same ids from the other end, against forward", "token",
                     "forward"),),
    ),
    (
        "What does its tokenisation cost?",
        (
            _Comparison("word order with the forward vocabulary against token order",
                        "word-forward-vocabulary", "token"),
            _Comparison("word order with its own vocabulary against token order", "word", "token"),
            _Comparison("both together: word order with its own vocabulary against forward",
                        "word", "forward"),
        ),
    ),
    (
        "Do two directions in one model pay, at the same compute in all?",
        (
            _Comparison("backwards, against word order alone", "both", "word"),
            _Comparison("forwards, against forward alone", "both", "forward",
                        "bits_forward"),
        ),
    ),
    (
        "Do rows cut from one stream cost anything, against whole stories?",
        (
            _Comparison("forward", "forward-stream", "forward"),
            _Comparison("word order", "word-stream", "word"),
        ),
    ),
    (
        "What do the two ways to show a forward model its ending cost?",
        (
            _Comparison("ending first against forward", "ending-first", "forward"),
            _Comparison("fill in the middle against forward", "fill-in", "forward"),
        ),
    ),
)  # fmt: skip
_LEADING = (("word", "ending-first"), ("word", "fill-in"), ("both", "word"))
"""Arms whose stories from endings are compared."""


def conclusion(by_size: Mapping[str, Found], labels: Mapping[str, str], *, whole: bool) -> str:
    """What the results of each size say to each question, and what they do not say yet."""
    parts = ["## What this carries\n"]
    if not whole:
        parts.append(
            "The trainings are not all done. A sentence below that speaks of one seed describes "
            "what was measured, and is no finding.\n"
        )
    for question, comparisons in _QUESTIONS:
        said = {
            size: [f"{one.what}: {_bits_in_words(found, one)}" for one in comparisons]
            for size, found in by_size.items()
        }
        parts.append(_answered(question, said))
    said = {
        size: [
            *_recognised(found, labels),
            *(
                f"{labels[own]} against {labels[other]}: {_leading(found, own, other)}"
                for own, other in _LEADING
            ),
        ]
        for size, found in by_size.items()
    }
    parts.append(
        _answered("Does going backwards lead to an ending better than showing it first?", said)
    )
    parts.append(_defaults(by_size, labels, whole=whole))
    return "\n".join(parts)


def _answered(question: str, said: Mapping[str, Sequence[str]]) -> str:
    """A question, and what each size says to it."""
    lines = []
    for size, own in said.items():
        missing = [line.removesuffix(_MISSING) for line in own if line.endswith(_MISSING)]
        lines += [f"- {size}, {line}" for line in own if not line.endswith(_MISSING)]
        if len(missing) == len(own):
            lines.append(f"- {size}: nothing is measured yet.")
        elif missing:
            lines.append(f"- {size}, not measured yet: {'; '.join(missing)}.")
    return f"**{question}**\n\n" + "\n".join(lines) + "\n"


def _bits_in_words(found: Found, one: _Comparison) -> str:
    own, other = found.get(one.own), found.get(one.other)
    compared = difference(own, other, one.key) if own and other else None
    if compared is None:
        return _MISSING.removeprefix(": ")
    said = f"{compared.interval} bits per byte"
    if len(compared.each) < _ENOUGH:
        return f"{said}, in one seed; no claim."
    said += f", in {len(compared.each)} seeds ({compared.seeds})"
    if not compared.is_shown:
        return f"{said}; no difference is shown."
    return f"{said}: it {'costs' if compared.mean > 0 else 'saves'} that."


def _recognised(found: Found, labels: Mapping[str, str]) -> list[str]:
    """Whether endings of each arm's stories are recognised more often than chance has it."""
    lines = []
    for name, results in found.items():
        if "endings" not in results[0]:
            continue
        mean, low, high = ending_figure(results, "retrieved")
        said = f"{mean:.0%} of the endings are recognised ({low:.0%} to {high:.0%})"
        if low <= _CHANCE:
            verdict = "which chance alone may give: it does not lead to its endings yet"
        else:
            verdict = "which is more than chance has it"
        lines.append(f"{labels[name]}: {said}, {verdict}{_of_seeds(len(results))}.")
    return lines


def _leading(found: Found, own: str, other: str) -> str:
    """Which of two arms leads to its endings better."""
    if own not in found or other not in found:
        return _MISSING.removeprefix(": ")
    pair = found[own], found[other]
    count = min(map(len, pair))
    if all(ending_figure(results, "retrieved")[1] <= _CHANCE for results in pair):
        return f"both are within chance, so nothing can be said{_of_seeds(count)}."
    measures: tuple[tuple[str, str, Callable[[float], float]], ...] = (
        ("reciprocal_rank", "the rank of its ending", lambda value: value),
        ("ending_bits_per_byte", "how likely the judge finds its ending", lambda value: -value),
    )
    said = []
    for key, what, sign in measures:
        first, second = (sorted(map(sign, ending_figure(results, key)[1:])) for results in pair)
        better = [
            sign(one["endings"][key][0]) > sign(two["endings"][key][0])
            for one, two in zip(*pair, strict=False)
        ]
        apart = first[0] > second[1] or second[0] > first[1]
        if apart and len(set(better)) == 1:
            said.append(f"{what} is {'better' if better[0] else 'worse'}")
        else:
            said.append(f"{what} does not differ by more than the intervals")
    return f"{'; '.join(said)}{_of_seeds(count)}."


def _of_seeds(count: int) -> str:
    return "" if count >= _ENOUGH else " (one seed; no claim)"


def _defaults(by_size: Mapping[str, Found], labels: Mapping[str, str], *, whole: bool) -> str:
    """What follows for what `mlx-rev train` does by default."""
    said = "**What it says of the defaults** (word order, a vocabulary of its own, packed rows): "
    if not whole:
        return said + "nothing before all trainings are done.\n"
    lines = []
    for size, found in by_size.items():
        for name in ("token", "word-forward-vocabulary", "word-stream"):
            compared = difference(found[name], found["word"]) if name in found else None
            if compared is None or not compared.is_shown:
                continue
            cheaper = "cheaper" if compared.mean < 0 else "dearer"
            lines.append(f"{labels[name]} is {cheaper} at {size} by {compared.interval}")
    return said + ("; ".join(lines) or "no other order is shown to cost less or more") + ".\n"
