import tracemalloc
from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from mlx_rev.data.vocabulary_sample import sample

lengths = st.lists(st.integers(0, 30), max_size=60)


def text_bytes(stories: list[str]) -> int:
    return sum(len(story.replace("\n", "").encode()) for story in stories)


@given(lengths, st.integers(1, 900))
def test_it_is_all_or_nearly_as_much_as_it_may_be_in_order(sizes: list[int], most: int) -> None:
    stories = [f"{number}é\n" + "é" * size for number, size in enumerate(sizes)]
    chosen = sample(stories, most)
    if text_bytes(stories) <= most:
        assert chosen == stories
        return
    assert text_bytes(chosen) <= most or len(chosen) == 1
    assert chosen == [story for story in stories if story in chosen]
    assert sample(iter(stories), most) == chosen


def test_it_comes_from_all_of_the_corpus_and_little_is_kept_on_the_way() -> None:
    def stories() -> Iterator[str]:
        for number in range(20_000):
            yield f"{number:05d}" + "x" * 95

    tracemalloc.start()
    chosen = sample(stories(), 100_000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert 95_000 <= text_bytes(chosen) <= 100_000
    assert peak < 1_000_000
    tenths = [int(story[:5]) // 2000 for story in chosen]
    assert all(60 <= tenths.count(tenth) <= 140 for tenth in range(10))


def test_a_story_that_is_too_long_is_better_than_none() -> None:
    assert sample(["a" * 50], 10) == ["a" * 50]
    assert len(sample(["a" * 50, "b" * 60], 10)) == 1
