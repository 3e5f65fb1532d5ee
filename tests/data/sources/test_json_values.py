"""JSON, a value at a time."""

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_rev.data.sources import content, json_values
from mlx_rev.data.sources.problems import Problems
from mlx_rev.data.sources.story_files import StoryFile, read_stories
from mlx_rev.errors import DataError

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="▁"), max_size=40)
entries = texts | st.builds(lambda text: {"n": 1, "text": text, "of": [{}]}, texts)


def all_of(path: Path, problems: Problems) -> list[str]:
    return [one for chunk in StoryFile(path).chunks((), problems) for one in chunk.stories]


@given(
    st.lists(entries, max_size=8),
    st.sampled_from(["list", "pretty list", "lines", "lists in lines"]),
    st.booleans(),
    st.sampled_from([1, 7, 1 << 18]),
)
def test_every_form_of_the_same_entries_from_any_place(
    tmp_path_factory: pytest.TempPathFactory,
    values: list[Any],
    form: str,
    ascii_only: bool,
    block: int,
) -> None:
    def said(value: Any, indent: int | None = None) -> str:
        return json.dumps(value, ensure_ascii=ascii_only, indent=indent)

    whole = {
        "list": said(values),
        "pretty list": said(values, indent=1),
        "lines": "\n\n".join(map(said, values)),
        "lists in lines": "\r\n".join(said(values[at : at + 3]) for at in range(0, 8, 3)),
    }
    path = tmp_path_factory.mktemp("json") / "s.json"
    path.write_bytes(whole[form].encode())
    plain = [value if isinstance(value, str) else value["text"] for value in values]
    expected = [story for text in plain if (story := text.strip().strip("\ufeff").strip())]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(content, "BLOCK", block)
        chunks = list(StoryFile(path).chunks((), Problems()))
        assert [story for chunk in chunks for story in chunk.stories] == expected
        for number, chunk in enumerate(chunks):
            rest = StoryFile(path).chunks(chunk.after, Problems())
            assert [story for more in rest for story in more.stories] == [
                story for more in chunks[number + 1 :] for story in more.stories
            ]


def test_a_list_of_any_size_takes_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    entry = json.dumps({"story": "x" * 1000})
    path.write_text("[" + ",".join([entry] * 10_000) + "]")
    tracemalloc.start()
    assert sum(map(len, read_stories(path))) == 10_000_000
    assert tracemalloc.get_traced_memory()[1] < 5 << 20
    tracemalloc.stop()


@pytest.mark.parametrize("start", ["", '["a",\n', '"a"\n{"text":'])
def test_a_value_without_end_is_refused_in_little_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: str
) -> None:
    monkeypatch.setattr(json_values, "LARGEST_STORY", 1 << 20)
    path = tmp_path / "s.json"
    path.write_text(start + '"' + "x" * (20 << 20) + '"')
    tracemalloc.start()
    line = start.count("\n") + 1
    with pytest.raises(DataError, match=f"line {line}: no value ends within"):
        list(read_stories(path))
    assert tracemalloc.get_traced_memory()[1] < 12 << 20
    tracemalloc.stop()


@pytest.mark.parametrize("block", [1, 1 << 18])
def test_what_cannot_be_read_is_skipped_and_the_first_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(content, "BLOCK", block)
    path = tmp_path / "s.jsonl"
    lines = [b'"One."', b'{"tale": 1}', b'"T\xffwo."', b"{", b'"\\udc80"', b'"Six."', b"77"]
    path.write_bytes(b"\n".join(lines))
    problems = Problems(skip=True)
    assert all_of(path, problems) == all_of(path, problems) == ["One.", "Six."]
    assert problems.count == 5
    assert "s.jsonl: line 2 has no story" in problems.summary()
    for number in (2, 3, 4, 5, 7):
        path.write_bytes(b"\n" * (number - 1) + lines[number - 1])
        place = "story 1: the text has a lone" if number == 5 else f"line {number}"
        with pytest.raises(DataError, match=place):
            list(read_stories(path))


def test_the_entry_is_counted_in_its_own_list(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    path.write_text('["One.", "Two."]\n["Three.", {"text": "Föur."},\n"Five.", 6]')
    with pytest.raises(DataError, match="line 3: entry 4 has no story"):
        list(read_stories(path))


def test_a_list_that_breaks_off_gives_what_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    path.write_text('["One.",\n{"story": "Two."},\n{"story": "Thr')
    with pytest.raises(DataError, match=r"line 3: not JSON \(Unterminated string"):
        list(read_stories(path))
    problems = Problems(skip=True)
    assert all_of(path, problems) == ["One.", "Two."]
    assert problems.summary().startswith(f"the rest of {path} after story 2 was left out")
    path.write_text("[1, 2, ")
    problems = Problems(skip=True)
    assert all_of(path, problems) == []
    assert problems.summary().startswith("2 stories were left out (--on-error skip), the first be")
    assert f"; the rest of {path} after story 2 was left out" in problems.summary()
    path.write_text("[")
    problems = Problems(skip=True)
    assert all_of(path, problems) == []
    assert problems.summary().startswith(f"all of {path} was left out (--on-error skip) because of")
    path.write_text('["One."')
    with pytest.raises(DataError, match="a list does not end"):
        list(read_stories(path))


def test_a_number_is_not_cut_in_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "BLOCK", 1)
    path = tmp_path / "s.jsonl"
    path.write_text('"One."\n77')
    problems = Problems(skip=True)
    assert all_of(path, problems) == ["One."]
    assert problems.count == 1


@pytest.mark.parametrize("block", [1, 20, 50, 1 << 18])
@pytest.mark.parametrize("end", [b"\n", b""])
def test_a_bad_line_is_passed_over_to_its_end_from_any_place_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int, end: bytes
) -> None:
    monkeypatch.setattr(content, "BLOCK", block)
    path = tmp_path / "s.jsonl"
    path.write_bytes(b'"One."\n"Two."\n{"text" 1, ' + b'"Nobody wrote this." ' * 6 + end)
    after = ["Three."] if end else []
    if end:
        with path.open("ab") as file:
            file.write(b'"Three."\n')
    problems = Problems(skip=True)
    chunks = list(StoryFile(path).chunks((), problems))
    assert [story for chunk in chunks for story in chunk.stories] == ["One.", "Two.", *after]
    assert problems.count == 1
    for number, chunk in enumerate(chunks):
        rest = StoryFile(path).chunks(chunk.after, Problems(skip=True))
        assert [story for more in rest for story in more.stories] == [
            story for more in chunks[number + 1 :] for story in more.stories
        ]


@pytest.mark.parametrize("block", [7, 64])
def test_a_value_without_end_is_passed_over_with_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(content, "BLOCK", block)
    monkeypatch.setattr(json_values, "LARGEST_STORY", 100)
    path = tmp_path / "s.jsonl"
    path.write_text('"One."\n{"text": "' + "x" * 500 + '"}\n"Three."\n')
    problems = Problems(skip=True)
    chunks = list(StoryFile(path).chunks((), problems))
    found = [story for chunk in chunks for story in chunk.stories]
    assert found == ["One.", "Three."]
    assert problems.summary().startswith("1 story was left out (--on-error skip), because of")
    assert "line 2: no value ends within" in problems.summary()
    for number, chunk in enumerate(chunks):
        rest = StoryFile(path).chunks(chunk.after, Problems(skip=True))
        assert [story for more in rest for story in more.stories] == [
            story for more in chunks[number + 1 :] for story in more.stories
        ]
    path.write_text('"One."\n{\n"text": "' + "x" * 500 + '"}\n"Three."\n')
    problems = Problems(skip=True)
    assert all_of(path, problems) == ["One."]
    assert problems.summary().startswith(f"the rest of {path} after story 1 was left out")
