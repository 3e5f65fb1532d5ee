from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_rev.generate import copied
from mlx_rev.generate.copied import longest_copied

texts = st.lists(st.lists(st.sampled_from("abcd"), max_size=12), max_size=5)


def contains(whole: list[str], run: list[str]) -> bool:
    return any(whole[start : start + len(run)] == run for start in range(len(whole)))


def by_definition(story: list[str], training: list[list[str]]) -> int:
    runs = [story[a:b] for a in range(len(story)) for b in range(a + 1, len(story) + 1)]
    found = [len(run) for run in runs if any(contains(whole, run) for whole in training)]
    return max(found, default=0)


@pytest.mark.parametrize("block", [1, 5, 1000])
@given(stories=texts, training=texts)
def test_the_longest_run_is_that_of_the_definition(
    block: int, stories: list[list[str]], training: list[list[str]]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(copied, "_WORDS_AT_ONCE", block)
        found = longest_copied(stories, iter(training))
    assert found.tolist() == [by_definition(story, training) for story in stories]


def test_a_copied_passage_is_found_at_its_length() -> None:
    random = np.random.default_rng(0)
    training = [[f"w{n}" for n in random.integers(0, 5000, 300)] for _ in range(50)]
    for length in (3, 40, 200):
        passage = training[7][50 : 50 + length]
        story = [*(f"x{n}" for n in range(30)), *passage, "y"]
        assert longest_copied([story, story[:30]], training).tolist() == [length, 0]
    across = [training[0][-3:] + training[1][:3]]
    assert longest_copied(across, training).tolist() == [3]


def test_a_longer_training_text_copies_no_less() -> None:
    story = list("abcabcd")
    growing = [longest_copied([story], [list("abcabcd"[:size])])[0] for size in range(8)]
    assert all(before <= after for before, after in pairwise(growing))
    assert growing[-1] == 7
