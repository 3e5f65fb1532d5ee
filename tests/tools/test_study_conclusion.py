"""What the study's results carry: noise, differences, and what is said of them."""

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pytest
import study_conclusion
from study_arms import ENDINGS, Arm, arms
from study_conclusion import Difference, difference, ending_difference
from study_noise import Noise, noise_of, student_t

BY_NAME = {arm.name: arm for arm in arms()}


@pytest.mark.parametrize(
    ("degrees", "quantile"),
    [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (5, 2.571), (8, 2.306), (30, 2.042)],
)
def test_students_quantiles_are_those_of_the_tables(degrees: int, quantile: float) -> None:
    assert student_t(degrees) == pytest.approx(quantile, abs=5e-4)


def test_noise_is_what_arm_and_seed_do_not_explain() -> None:
    random = np.random.default_rng(0)
    shifts = {"a": 5.0, "b": -3.0, "c": 0.5}
    exact = {(arm, seed): shift + seed**2 for arm, shift in shifts.items() for seed in range(3)}
    assert noise_of(exact).variance == pytest.approx(0, abs=1e-20)
    assert noise_of(exact).degrees == 4
    del exact["b", 2]
    assert noise_of(exact).degrees == 3
    assert noise_of({key: exact[key] for key in [("a", 0), ("b", 0)]}) == Noise(0.0, 0)
    assert math.isinf(Noise(0.0, 0).margin(1, 0.0))
    estimates = [
        noise_of({key: value + random.normal(0, 0.1) for key, value in exact.items()}).variance
        for _ in range(1000)
    ]
    assert np.mean(estimates) == pytest.approx(0.01, rel=0.1)


def test_seeds_that_differ_by_chance_are_seldom_called_a_difference() -> None:
    """Seeds move arms by 1%, drawing other stories by a tenth of that: no arm is better."""
    random, names, shown = np.random.default_rng(1), list(BY_NAME)[:5], 0
    stories = random.uniform(50, 150, 40)
    pairs = list(itertools.combinations(names, 2))
    for _ in range(60):
        found = {
            name: [noisy(BY_NAME[name], seed, stories, random) for seed in (0, 1)] for name in names
        }
        noise = study_conclusion.noise_of_bits(own for group in found.values() for own in group)
        for own, other in pairs:
            compared = difference(found[own], found[other], noise)
            assert compared is not None
            shown += compared.is_shown
    assert 0.01 < shown / (60 * len(pairs)) < 0.09


def noisy(
    arm: Arm, seed: int, stories: np.ndarray, random: np.random.Generator
) -> dict[str, object]:
    bits = stories * np.exp(random.normal(0, 0.01) + random.normal(0, 0.006, len(stories)))
    return {"arm": arm.name, "seed": seed, "bits": {"stories": bits.tolist()}}


@pytest.mark.parametrize(
    ("low", "high", "seeds", "is_shown"),
    [
        (0.1, 0.3, 2, True),
        (-0.3, -0.1, 2, True),
        (-0.1, 0.3, 2, False),
        (0.0, 0.3, 2, False),
        (-0.3, 0.0, 2, False),
        (0.1, 0.3, 1, False),
        (-0.3, -0.1, 1, False),
        (0.1, 0.3, 3, True),
        (-math.inf, math.inf, 3, False),
    ],
)
def test_a_difference_is_shown_by_its_interval_and_two_seeds(
    low: float, high: float, seeds: int, is_shown: bool
) -> None:
    assert Difference((low + high) / 2, low, high, (0.2,) * seeds).is_shown is is_shown


def test_a_difference_is_paired_by_seed_and_as_wide_as_seeds_and_stories_have_it() -> None:
    def of(seed: int, *bits: float) -> dict[str, object]:
        return {"seed": seed, "bits": {"stories": list(bits)}}

    other = [of(1, 200, 200), of(0, 100, 100), of(2, 1, 1)]
    found = difference([of(0, 110, 110), of(1, 242, 242), of(5, 9, 9)], other, Noise(0.0004, 4))
    assert found is not None
    assert found.each == pytest.approx((0.1, 0.21))
    middle, margin = math.log(1.1 * 1.21) / 2, 2.7764 * 0.02
    assert found.mean == pytest.approx(math.exp(middle) - 1)
    assert found.low == pytest.approx(math.exp(middle - margin) - 1, abs=1e-5)
    assert found.high == pytest.approx(math.exp(middle + margin) - 1, abs=1e-5)
    wider = difference([of(0, 100, 120)], other, Noise(0.0, 4))
    assert wider is not None
    assert wider.low < 0.05 < 0.15 < wider.high
    assert difference([of(7, 1, 1)], other, Noise(0.0, 4)) is None


def endings(arm: str, seed: int, hits: float, rank: float, bits: float) -> dict[str, object]:
    return {
        **{"arm": arm, "seed": seed},
        "endings": {
            "retrieved": [hits, 0.0, 1.0],
            "reciprocal_rank": [rank, rank - 0.01, rank + 0.01],
            "ending_bits_per_byte": [bits, bits - 0.01, bits + 0.01],
        },
    }


def test_a_difference_of_endings_is_for_these_endings_and_as_wide_as_seeds_have_it() -> None:
    own = [endings("a", seed, 0.1, 0.5 + seed / 10, 1) for seed in (1, 0)]
    other = [endings("b", seed, 0.1, 0.3, 1) for seed in (0, 1, 2)]
    found = ending_difference(own, other, Noise(0.02, 8), "reciprocal_rank")
    assert found is not None
    assert found.each == pytest.approx((0.3, 0.2))
    margin = 2.306 * math.sqrt(2 * 0.02 / 2)
    assert (found.mean, found.high - found.low) == pytest.approx((0.25, 2 * margin), rel=1e-4)


def test_arms_that_do_not_differ_over_the_same_endings_are_seldom_told_apart() -> None:
    """What an ending costs is the same in all arms, and by far the most of what differs."""
    random, inside = np.random.default_rng(3), 0
    for _ in range(300):
        easy = random.uniform(0.1, 0.9, ENDINGS)
        ranks = easy + random.normal(0, 0.03, (4, 2, ENDINGS))
        found = [
            [endings(str(arm), seed, 0.1, ranks[arm, seed].mean(), 1) for seed in (0, 1)]
            for arm in range(4)
        ]
        noise = noise_of(
            {(str(arm), seed): ranks[arm, seed].mean() for arm in range(4) for seed in (0, 1)}
        )
        compared = ending_difference(found[0], found[1], noise, "reciprocal_rank")
        assert compared is not None
        inside += compared.low <= 0 <= compared.high
    assert 0.91 < inside / 300 < 0.985


@pytest.mark.parametrize(
    ("hits", "seeds", "beats"),
    [
        (0.03, 1, False),
        (0.04, 1, True),
        (0.025, 2, False),
        (0.03, 2, True),
        (7 / 300, 3, False),
        (8 / 300, 3, True),
    ],
)
def test_chance_is_beaten_by_what_it_seldom_gives(hits: float, seeds: int, beats: bool) -> None:
    """P(4 or more of 100) is 1.8%, of 3 or more 7.9%; of 200, 1.6% from 6 on and 5.2%
    from 5; of 300, 3.3% from 7 on and 1.2% from 8."""
    assert ENDINGS == 100
    results = [endings("word", seed, hits, 0.1, 1) for seed in range(seeds)]
    assert study_conclusion._beats_chance(results) is beats


def test_what_one_seed_shows_is_said_to_be_of_one_seed() -> None:
    one = {"word": [endings("word", 0, 0.13, 0.1, 1)]}
    [said] = study_conclusion._recognised(one, {"word": "word order"})
    assert said.endswith("more than chance gives (one seed).")
    both = {"word": [endings("word", seed, 0.13, 0.1, 1) for seed in (0, 1)]}
    [said] = study_conclusion._recognised(both, {"word": "word order"})
    assert said.endswith("more than chance gives.")


BETTER, WORSE = "the rank of its ending is better", "the rank of its ending is worse"
LIKELIER = "how likely the judge finds its ending is better"
LESS_LIKELY = "how likely the judge finds its ending is worse"
HERE = "for these 100 endings"


@pytest.mark.parametrize(
    ("hits", "rank", "bits", "seeds", "said"),
    [
        (0.01, 0.5, 0.5, (0, 1), "neither is better than chance, so nothing can be said."),
        (0.01, 0.5, 0.5, (0,), "so nothing can be said (one seed)."),
        (0.2, 0.5, 0.5, (0, 1), f"{BETTER}; {LIKELIER}, {HERE}."),
        (0.2, 0.1, 1.5, (0, 1), f"{WORSE}; {LESS_LIKELY}, {HERE}."),
        (0.2, 0.3, 0.5, (0, 1), f"{LIKELIER}, {HERE}; no difference is shown in the rank of"),
        (0.2, 0.3, 1.0, (0, 1), "no difference is shown in the rank of its ending or how likely"),
        (0.2, 0.5, 0.5, (0,), "no difference is shown in the rank of its ending or how likely"),
        (0.2, 0.5, 0.5, (7,), "not measured."),
    ],
)
def test_which_arm_leads_better(
    hits: float, rank: float, bits: float, seeds: Sequence[int], said: str
) -> None:
    found = {
        "word": [endings("word", seed, hits, rank, bits) for seed in seeds],
        # The seeds in another order: results are paired by seed, not by place.
        "fill-in": [endings("fill-in", seed, 0.0, 0.3, 1.0) for seed in (1, 0)],
    }
    assert said in study_conclusion._leading(found, "word", "fill-in")
    assert study_conclusion._leading(found, "word", "both") == "not measured."


def test_seeds_that_disagree_show_no_better_lead() -> None:
    ranks = {"word": (0.7, 0.35), "fill-in": (0.2, 0.4)}
    found = {
        arm: [endings(arm, seed, 0.2, rank, 1.0) for seed, rank in enumerate(own)]
        for arm, own in ranks.items()
    }
    assert "no difference is shown in the rank" in study_conclusion._leading(
        found, "word", "fill-in"
    )
