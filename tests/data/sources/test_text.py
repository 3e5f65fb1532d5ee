"""Text files, cut up as bytes: the same stories as line by line, from any place noted."""

import re
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mlx_rev.data.sources import content, facts, text
from mlx_rev.data.sources.content import Content, opened
from mlx_rev.data.sources.facts import facts_of
from mlx_rev.data.sources.problems import Problems
from mlx_rev.data.sources.story_files import StoryFile, read_stories
from mlx_rev.data.sources.text import read_text
from mlx_rev.errors import DataError

MARK = "<|endoftext|>"
PIECES = (
    *("One day.", "A dog\n", "é", "🐶 ran.", "x"),
    *("\n", "\n\n", "\n", "\r\n", "\r", " ", "\t", "\u2003", "\x85", "\xa0", "\x1c", "\u2028"),
    *(MARK, f"\n{MARK}\n", "\ufeff", "\0", "Long and " * 30 + "long."),
)


def line_by_line(path: Path) -> list[str]:
    """What a text file holds, in the plainest way."""
    whole = path.read_text(encoding="utf-8-sig")
    lines = whole.split("\n")
    filled = [line.strip() for line in lines if line.strip()]
    stripped = whole.strip()
    if MARK in whole:
        parts = whole.split(MARK)
    elif any(not line.strip() for line in stripped.split("\n")) and stripped:
        parts = re.split(r"\n\s*\n", whole)
    else:
        ended = sum(line.endswith(tuple(".!?…。！？।॥؟۔:;\"'”’»)")) for line in filled)
        size = sum(map(len, filled))
        enough = len(filled) >= 100 or size >= 200 * len(filled)
        are_lines = len(filled) > 1 and ended >= 0.9 * len(filled) and enough
        parts = lines if are_lines else [whole]
    return [story for part in parts if (story := part.strip().strip("\ufeff").strip())]


def small_blocks(patch: pytest.MonkeyPatch, size: int) -> None:
    patch.setattr(content, "BLOCK", size)


@example(["\ufeff", " ", "\ufeff", "One day."], 1 << 18)
@example(["\n", PIECES[-1], "\n", PIECES[-1]], 64)
@given(st.lists(st.sampled_from(PIECES), max_size=30), st.sampled_from([1, 5, 64, 1 << 18]))
def test_the_same_stories_as_line_by_line_from_any_place(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[str], block: int
) -> None:
    path = tmp_path_factory.mktemp("text") / "s.txt"
    path.write_bytes("".join(pieces).encode())
    with pytest.MonkeyPatch.context() as patch:
        small_blocks(patch, block)
        file = StoryFile(path, facts_of(path))
        chunks = list(file.chunks((), Problems()))
        stories = [story for chunk in chunks for story in chunk.stories]
        assert stories == line_by_line(path)
        for number, chunk in enumerate(chunks):
            rest = [
                story for more in file.chunks(chunk.after, Problems()) for story in more.stories
            ]
            assert rest == [story for more in chunks[number + 1 :] for story in more.stories]


BAD = b"One.\n\nTwo \xff two.\n\nThree.\n\nFour\n\xc3"


def test_bad_utf8_has_a_line_and_a_byte(tmp_path: Path) -> None:
    path = tmp_path / "s.txt"
    path.write_bytes(BAD)
    with pytest.raises(DataError, match=r"s\.txt: line 3, byte 10 is not UTF-8 \(0xFF\)") as caught:
        facts_of(path)
    assert "--on-error skip" in str(caught.value)
    path.write_bytes(BAD[-6:])
    with pytest.raises(DataError, match="line 2, byte 5 is not UTF-8"):
        list(read_stories(path))


@pytest.mark.parametrize("block", [1, 7, 1 << 18])
@pytest.mark.parametrize("mark", [b"\n\n", b"<|endoftext|>"])
def test_a_story_with_bad_utf8_is_skipped_and_counted_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int, mark: bytes
) -> None:
    small_blocks(monkeypatch, block)
    path = tmp_path / "s.txt"
    path.write_bytes(BAD.replace(b"\n\n", mark))
    problems = Problems(skip=True)
    file = StoryFile(path, facts_of(path, problems))
    for _ in range(2):
        stories = [story for chunk in file.chunks((), problems) for story in chunk.stories]
        assert stories == ["One.", "Three."]
    assert problems.count == 2
    assert "is not UTF-8 (0xFF)" in problems.summary()
    assert problems.summary().startswith("2 stories were left out")


def test_one_line_without_end_takes_little_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text, "LARGEST_STORY", 1 << 20)
    monkeypatch.setattr(facts, "LARGEST_STORY", 1 << 20)
    path = tmp_path / "s.txt"
    path.write_bytes(b"One.\n\n" + b"x" * (20 << 20) + b"\n\nThree.")
    tracemalloc.start()
    with pytest.raises(DataError, match="line 3, byte 6: no story ends within"):
        list(read_stories(path))
    problems = Problems(skip=True)
    file = StoryFile(path, facts_of(path, problems))
    stories = [story for chunk in file.chunks((), problems) for story in chunk.stories]
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()
    assert stories == ["One.", "Three."]
    assert problems.count == 1


@pytest.mark.parametrize("block", [64, 1 << 18])
def test_the_limit_on_a_story_does_not_depend_on_the_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    small_blocks(monkeypatch, block)
    monkeypatch.setattr(text, "LARGEST_STORY", 100)
    path = tmp_path / "s.txt"
    sizes = (99, 100, 101, 300, 5)
    path.write_text(MARK.join("x" * size for size in sizes))
    problems = Problems(skip=True)
    with opened(path) as file:
        chunks = list(read_text(file, "marks", (), problems))
    assert [len(story) for chunk in chunks for story in chunk.stories] == [99, 100, 5]
    assert problems.count == 2


def test_facts_of_a_large_file_are_kept_until_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(facts, "REMEMBERED", 10)
    path, cache = tmp_path / "s.txt", tmp_path / "cache"
    path.write_text("One story.\n\nAnother.")
    found = facts_of(path, cache=cache)
    monkeypatch.setattr(Content, "read", lambda *_: pytest.fail("it was read again"))
    assert facts_of(path, cache=cache) == found
    monkeypatch.undo()
    monkeypatch.setattr(facts, "REMEMBERED", 10)
    path.write_text("One story.\nThe same.")
    assert facts_of(path, cache=cache) == facts_of(path) != found
    for kept in (cache / "facts").iterdir():
        kept.write_text("{")
    assert facts_of(path, cache=cache) == facts_of(path)
