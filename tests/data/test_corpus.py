import json
from pathlib import Path

import pytest

from mlx_rev.data.corpus import open_corpus, read_stories
from mlx_rev.errors import DataError


def opened(path: Path, **options: object) -> tuple[list[str], list[str]]:
    settings = {"valid": None, "valid_share": 0.2, "cache": path.parent, **options}
    corpus = open_corpus(str(path), **settings)
    return list(corpus.train()), list(corpus.valid())


def test_marked_text(tmp_path: Path) -> None:
    path = tmp_path / "s.txt"
    path.write_text("One.\n\nStill one.\n<|endoftext|>\n\nTwo.\n<|endoftext|>\n<|endoftext|>\n")
    assert list(read_stories(path)) == ["One.\n\nStill one.", "Two."]


def test_text_in_paragraphs(tmp_path: Path) -> None:
    path = tmp_path / "s.txt"
    path.write_text("One.\nStill one.\n\n \nTwo.")
    assert list(read_stories(path)) == ["One.\nStill one.", "Two."]


def test_json(tmp_path: Path) -> None:
    entries = [{"story": "One."}, {"text": "Two."}, " Three. ", {"story": ""}]
    path = tmp_path / "s.json"
    path.write_text(json.dumps(entries))
    assert list(read_stories(path)) == ["One.", "Two.", "Three."]
    path = tmp_path / "s.jsonl"
    path.write_text("\n".join(map(json.dumps, entries)) + "\n\n")
    assert list(read_stories(path)) == ["One.", "Two.", "Three."]


def test_the_held_out_share_depends_on_the_text_alone(tmp_path: Path) -> None:
    stories = [f"Story {number}." for number in range(500)]
    one, other = tmp_path / "one.txt", tmp_path / "other.txt"
    one.write_text("\n\n".join([*stories, stories[0]]))
    other.write_text("\n\n".join(reversed(stories)))
    train, valid = opened(one)
    assert set(valid) == set(opened(other)[1])
    assert 60 < len(valid) < 140
    assert not set(train) & set(valid)
    assert set(train) | set(valid) == set(stories)


def test_a_file_of_held_out_stories_takes_the_place_of_the_share(tmp_path: Path) -> None:
    one, other = tmp_path / "one.txt", tmp_path / "other.txt"
    one.write_text("A.\n\nB.")
    other.write_text("C.")
    assert opened(one, valid=str(other)) == (["A.", "B."], ["C."])


def test_the_fingerprint_tells_contents_and_splits_apart(tmp_path: Path) -> None:
    one, other = tmp_path / "one.txt", tmp_path / "other.txt"
    one.write_text("A.\n\nB.")
    other.write_text("A.\n\nC.")

    def fingerprint(path: Path, share: float = 0.2, valid: str | None = None) -> str:
        return open_corpus(str(path), valid=valid, valid_share=share, cache=tmp_path).fingerprint

    prints = [
        fingerprint(one),
        fingerprint(other),
        fingerprint(one, 0.3),
        fingerprint(one, valid=str(other)),
        fingerprint(Path("bundled")),
    ]
    assert len(set(prints)) == 5
    assert fingerprint(one) == prints[0]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("s.csv", b"a", "unknown kind of corpus"),
        ("s.txt", b"", "the file is empty"),
        ("s.txt", b"\xff\xfe bad", "not UTF-8"),
        ("s.json", b'[{"story": "a"}', "not JSON"),
        ("s.json", b'{"story": "a"}', "expected a list of stories"),
        ("s.json", b"[1]", "entry 1 has no story"),
        ("s.jsonl", b'{"story": "a"}\n{"tale": "b"}', "line 2 has no story"),
        ("s.jsonl", b'{"story": "a"}\n{', "line 2: not JSON"),
        ("s.jsonl", b'"a"\n' + b"9" * 5000, "line 2: JSON that no story needs"),
        ("s.json", b"[" * 100_000, "JSON that no story needs"),
        ("s.json", b'["a", "\\ud800"]', "story 2: the text has a lone surrogate"),
        ("s.txt", "A dog.\n\nA▁cat.".encode(), r"story 2: the text has U\+2581"),
        ("missing.txt", None, "no such file"),
    ],
)
def test_what_cannot_be_read_is_named(
    tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=message) as error:
        list(read_stories(path))
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_nothing_left_to_hold_out_is_said(tmp_path: Path) -> None:
    path = tmp_path / "s.txt"
    path.write_text("Only one story.")
    with pytest.raises(DataError, match="no story of it falls into the held-out share"):
        opened(path, valid_share=1e-9)
