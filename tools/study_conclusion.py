"""What the study's results carry, in words: each sentence follows from the results there are."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from study_arms import ENDINGS
from study_noise import Noise, noise_of

from mlx_rev.generate import bootstrap

Result = Mapping[str, Any]
Found = Mapping[str, Sequence[Result]]
"""The results of one size, by the name of the arm."""

_ENOUGH = 2
"""Seeds: of fewer nothing is known of how they differ."""
SHARES = ("retrieved", "loops", "cut")
"""What is 0 or 1 for each ending."""
_MISSING = ": not measured."
_CHANCE = 1 / ENDINGS

LIMITS = f"""\
## Limits

- Models of 0.3 and 1.5 million parameters that see a part of their training text once: the tables
  say how many epochs. Larger or longer trained ones may differ otherwise.
- All arms see as many tokens, not as much text: how many bytes a token stands for is in the tables.
  As stories of other lengths fill rows otherwise, an arm's rows hold other stories than the next
  one's. That is chance, which the seeds vary, and part of their spread.
- The interval of a difference in bits is of other seeds and other held-out stories together:
  to both sides t · √(2 s² / n + e²). Here n is the number of seeds that both arms have; s is the
  noise of one training, what is left when its arm and its seed are known, by least squares over
  all trainings of the size; t is Student's for 95% and the degrees of freedom that leaves; and e is
  the standard error of drawing other stories (bootstrap). That takes the noise to be near to normal
  and as large in each arm, and a seed to move all arms alike: of an arm whose noise is larger than
  the others' the intervals are too narrow.
- What stands of an arm's stories from endings has the interval of other endings only (of shares,
  Wilson's). A difference of such stories is for these {ENDINGS} endings, the same in all arms, and
  its interval is of other seeds only (e = 0), as what was measured of single endings was not kept.
  It says nothing certain of other endings.
- Whether endings are recognised more often than chance gives is said of the stories of all seeds
  together: if chance gives so many in fewer than 1 of 40 cases (binomial distribution). The
  interval beside it counts endings, so the two may disagree.
- A difference is called one here if that interval leaves out zero and two seeds or more were
  measured. So many are looked at that one or two may be called so by chance. Most of them share the
  forward arm, so that they are wrong together if they are.
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
    """How much more one arm has than another: of bits as a share."""

    mean: float
    low: float
    high: float
    """The interval of other seeds and, of bits, of other stories; infinite where nothing is known
    of seeds."""
    each: tuple[float, ...]
    """By seed."""

    @property
    def is_shown(self) -> bool:
        """Whether it may be claimed."""
        return (self.low > 0 or self.high < 0) and len(self.each) >= _ENOUGH

    @property
    def interval(self) -> str:
        """Mean and interval."""
        if math.isinf(self.high):
            return f"{self.mean:+.1%}"
        return f"{self.mean:+.1%} ({self.low:+.1%} to {self.high:+.1%})"

    @property
    def seeds(self) -> str:
        """The smallest and the largest in a seed."""
        if len(self.each) == 1:
            return "one seed"
        return f"{min(self.each):+.1%} to {max(self.each):+.1%}"


def noise_of_bits(results: Iterable[Result]) -> Noise:
    """How far chance moves the logarithm of a training's bits."""
    return noise_of({(own["arm"], own["seed"]): _log_bits(own, "bits") for own in results})


def _log_bits(result: Result, key: str) -> float:
    return math.log(sum(result[key]["stories"]))


def difference(
    own: Sequence[Result], other: Sequence[Result], noise: Noise, key: str = "bits"
) -> Difference | None:
    """Of the bits of two arms, paired by story and seed; None where they share no seed."""
    pairs = _pairs([result for result in own if key in result], other)
    if not pairs:
        return None
    each = np.array([_log_bits(one, key) - _log_bits(two, "bits") for one, two in pairs])
    stories = [(one[key]["stories"], two["bits"]["stories"]) for one, two in pairs]
    first, second = np.mean(stories, axis=0)
    drawn = bootstrap.resamples(len(first), 0)
    variance = np.log(bootstrap.means(first / second, second, drawn)).var()
    mean, margin = each.mean(), noise.margin(len(pairs), float(variance))
    low, high = (float(np.expm1(mean + way * margin)) for way in (-1, 1))
    return Difference(float(np.expm1(mean)), low, high, tuple(np.expm1(each).tolist()))


def _pairs(own: Sequence[Result], other: Sequence[Result]) -> list[tuple[Result, Result]]:
    """The results of two arms for the same seed."""
    others = {result["seed"]: result for result in other}
    return [(one, others[one["seed"]]) for one in own if one["seed"] in others]


def ending_figure(results: Sequence[Result], key: str) -> tuple[float, float, float]:
    """Mean and interval of what was measured of stories told from endings, over the seeds."""
    mean, low, high = np.mean([result["endings"][key] for result in results], axis=0).tolist()
    if key.removeprefix("real ") in SHARES:
        found = bootstrap.share(mean, ENDINGS)
        return mean, found.low, found.high
    return mean, low, high


def ending_difference(
    own: Sequence[Result], other: Sequence[Result], noise: Noise, key: str
) -> Difference | None:
    """Of such a figure of two arms, for the endings that both have, paired by seed; None where
    they share none."""
    pairs = _pairs(own, other)
    if not pairs:
        return None
    each = np.array([one["endings"][key][0] - two["endings"][key][0] for one, two in pairs])
    mean, margin = float(each.mean()), noise.margin(len(pairs), 0.0)
    return Difference(mean, mean - margin, mean + margin, tuple(each.tolist()))


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
_LEADING = (("word", "ending-first"), ("word", "fill-in"), ("token", "word"), ("both", "word"))
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
            lines.append(f"- {size}: nothing is measured.")
        elif missing:
            lines.append(f"- {size}, not measured: {'; '.join(missing)}.")
    return f"**{question}**\n\n" + "\n".join(lines) + "\n"


def _bits_in_words(found: Found, one: _Comparison) -> str:
    own, other = found.get(one.own, ()), found.get(one.other, ())
    compared = difference(own, other, _noise(found), one.key)
    if compared is None:
        return _MISSING.removeprefix(": ")
    said = f"{compared.interval} bits per byte"
    if len(compared.each) < _ENOUGH:
        return f"{said}, in one seed; no claim."
    said += f", in {len(compared.each)} seeds ({compared.seeds})"
    if not compared.is_shown:
        return f"{said}; no difference is shown."
    return f"{said}: it {'costs' if compared.mean > 0 else 'saves'} that."


def _noise(found: Found) -> Noise:
    return noise_of_bits(chain.from_iterable(found.values()))


def _recognised(found: Found, labels: Mapping[str, str]) -> list[str]:
    """Whether endings of each arm's stories are recognised more often than chance has it."""
    lines = []
    for name, results in found.items():
        if "endings" not in results[0]:
            continue
        mean, low, high = ending_figure(results, "retrieved")
        said = f"{mean:.0%} of the endings are recognised ({low:.0%} to {high:.0%})"
        verdict = "more than chance gives" if _beats_chance(results) else "as chance may give too"
        lines.append(f"{labels[name]}: {said}, {verdict}{_of_seeds(len(results))}.")
    return lines


def _beats_chance(results: Sequence[Result]) -> bool:
    """Whether so many endings are recognised as happens less than once in forty times by chance:
    by the binomial distribution."""
    count = ENDINGS * len(results)
    found = round(count * ending_figure(results, "retrieved")[0])
    fewer = sum(
        math.comb(count, hits) * _CHANCE**hits * (1 - _CHANCE) ** (count - hits)
        for hits in range(found)
    )
    return 1 - fewer < 1 / 40


def _leading(found: Found, own: str, other: str) -> str:
    """Which of two arms leads to its endings better."""
    pair = found.get(own, ()), found.get(other, ())
    pairs = _pairs(*pair)
    if not pairs:
        return _MISSING.removeprefix(": ")
    if not any(map(_beats_chance, pair)):
        return f"neither is better than chance, so nothing can be said{_of_seeds(len(pairs))}."
    said, alike = [], []
    for key, what, more_is_better in (
        ("reciprocal_rank", "the rank of its ending", True),
        ("ending_bits_per_byte", "how likely the judge finds its ending", False),
    ):
        every = [one for results in found.values() for one in results if "endings" in one]
        noise = noise_of({(one["arm"], one["seed"]): one["endings"][key][0] for one in every})
        compared = ending_difference(*pair, noise, key)
        if compared is not None and compared.is_shown:
            better = (compared.mean > 0) is more_is_better
            said.append(f"{what} is {'better' if better else 'worse'}")
        else:
            alike.append(what)
    parts = [f"{'; '.join(said)}, for these {ENDINGS} endings"] if said else []
    if alike:
        parts.append(f"no difference is shown in {' or '.join(alike)}")
    return f"{'; '.join(parts)}{_of_seeds(len(pairs))}."


def _of_seeds(count: int) -> str:
    return "" if count >= _ENOUGH else " (one seed)"


def _defaults(by_size: Mapping[str, Found], labels: Mapping[str, str], *, whole: bool) -> str:
    """What follows for what `mlx-rev train` does by default."""
    said = "**What it says of the defaults** (word order, a vocabulary of its own, packed rows): "
    if not whole:
        return said + "nothing before all trainings are done.\n"
    lines = []
    for size, found in by_size.items():
        for name in ("token", "word-forward-vocabulary", "word-stream"):
            compared = difference(found.get(name, ()), found.get("word", ()), _noise(found))
            if compared is None or not compared.is_shown:
                continue
            cheaper = "cheaper" if compared.mean < 0 else "dearer"
            lines.append(f"{labels[name]} is {cheaper} at {size} by {compared.interval}")
    return said + ("; ".join(lines) or "no other choice is shown to cost less or more") + ".\n"
