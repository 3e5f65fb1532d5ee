import hashlib
import json
from pathlib import Path

import pytest

from mlx_rev.config import DataConfig
from mlx_rev.data.corpus import open_corpus
from mlx_rev.data.sources import facts
from mlx_rev.data.sources.story_files import notices, read_stories
from mlx_rev.errors import DataError


def opened(path: Path, **options: object) -> tuple[list[str], list[str]]:
    config = DataConfig(**{"data": str(path), "valid_share": 0.2, **options})
    corpus = open_corpus(config, path.parent)
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
        config = DataConfig(data=str(path), valid=valid, valid_share=share)
        return open_corpus(config, tmp_path).fingerprint

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
        ("s.txt", b"", "there is no story in it"),
        ("s.txt", b" \n\n\t\n<|endoftext|>\n\xef\xbb\xbf", "there is no story in it"),
        ("s.json", b"", "there is no story in it"),
        ("s.json", b"[]", "there is no story in it"),
        ("s.jsonl", b'{"text": " "}\n[]\n', "there is no story in it"),
        ("s.txt", b"\xff\xfe bad", "not UTF-8"),
        ("s.json", b'[{"story": "a"}', "not JSON"),
        ("s.json", b'{"tale": "a"}', "if it is in 'tale', name that with --field"),
        ("s.json", b"7", "has no story"),
        ("s.json", b"[1]", "entry 1 has no story"),
        ("s.jsonl", b'{"story": "a"}\n{"tale": "b"}', "line 2 has no story"),
        ("s.jsonl", b'{"story": "a"}\n{', "line 2: not JSON"),
        ("s.jsonl", b'"a"\n' + b"9" * 5000, "line 2: JSON beyond what a story needs"),
        ("s.json", b"[" * 100_000, "JSON beyond what a story needs"),
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
    with pytest.raises(DataError, match="all of it is one story, so none can be held out"):
        opened(path)
    path.write_text("One story.\n\nAnother.")
    with pytest.raises(DataError, match="none of its stories is in the held-out share"):
        opened(path, valid_share=1e-9)
    with pytest.raises(DataError, match="none of its stories is in the training share"):
        opened(path, valid_share=1 - 1e-9)


@pytest.mark.parametrize(
    "text",
    [
        "One.<|endoftext|>Two.<|endoftext|>",
        "One.\n<|endoftext|>Two.\n",
        "<|endoftext|>One.\n<|endoftext|>\nTwo.",
        "One. <|endoftext|> <|endoftext|>\n\nTwo.",
        "\ufeffOne.\n\n\ufeffTwo.\n",
    ],
)
def test_marks_anywhere_separate_and_byte_order_marks_vanish(tmp_path: Path, text: str) -> None:
    path = tmp_path / "s.txt"
    path.write_text(text, encoding="utf-8")
    assert list(read_stories(path)) == ["One.", "Two."]


def test_a_story_a_line_is_split_and_said_but_lines_of_one_story_are_not(tmp_path: Path) -> None:
    path = tmp_path / "s.txt"
    stories = [f"Story {number} of a dog that ran. " * 10 + "The end." for number in range(5)]
    path.write_text("\n".join(stories) + "\n")
    assert list(read_stories(path)) == stories
    [notice] = notices(str(path))
    assert "each of its 5 lines is read as a story" in notice
    path.write_text("A dog ran\nto the far hill,\nand home.\n")
    assert list(read_stories(path)) == ["A dog ran\nto the far hill,\nand home."]
    [notice] = notices(str(path))
    assert "its 3 lines are read as one story" in notice


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("s.json", '{"text": "One."}\n\n{"text": "Two."}\n'),
        ("s.jsonl", '["One.", {"story": "Two."}]'),
        ("s.jsonl", '[\n "One.",\n "Two."\n]\n'),
        ("s.json", '\ufeff["One.<|endoftext|>Two."]'),
        ("s.json", '{\n "text": "One.<|endoftext|>\\ufeffTwo."\n}'),
    ],
)
def test_json_of_every_shape_under_either_name(tmp_path: Path, name: str, content: str) -> None:
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    assert list(read_stories(path)) == ["One.", "Two."]


def test_a_field_a_folder_and_a_glob(tmp_path: Path) -> None:
    (tmp_path / "b" / "deep").mkdir(parents=True)
    (tmp_path / "b" / "deep" / "2.json").write_text('{"tale": "Two."}')
    (tmp_path / "b" / "1.json").write_text('{"tale": "One."}')
    (tmp_path / "b" / ".3.json").write_text('{"tale": "Hidden."}')
    (tmp_path / "b" / "notes.md").write_text("No story.")
    (tmp_path / "b" / "blank.txt").write_text("\n")
    for data in (tmp_path / "b", tmp_path / "b" / "**" / "[12].json"):
        assert list(read_stories(data, "tale")) == ["One.", "Two."]
    folder = str(tmp_path / "b")
    corpus = open_corpus(DataConfig(data=folder, valid=folder, field="tale"), tmp_path)
    assert list(corpus.train()) == list(corpus.valid()) == ["One.", "Two."]
    (tmp_path / "c").mkdir()
    with pytest.raises(DataError, match="file in this folder"):
        list(read_stories(tmp_path / "c"))


def test_a_corpus_that_was_read_right_keeps_its_fingerprint(tmp_path: Path) -> None:
    """As it was in version 0.1: sha256 of the file's sha256 and the share."""

    def changed(text: str, name: str = "s.txt") -> bool:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        parts = f"{hashlib.sha256(path.read_bytes()).hexdigest()}\0{0.2!r}"
        found = open_corpus(DataConfig(data=str(path), valid_share=0.2), tmp_path).fingerprint
        return found != hashlib.sha256(parts.encode()).hexdigest()

    assert not changed("One.\n<|endoftext|>\nTwo.\n  <|endoftext|>\n")
    assert not changed("One.\nStill one.\n\nTwo.")
    assert not changed('["One.", "Two."]', "s.json")
    assert changed("One.<|endoftext|>Two.")
    assert changed("\ufeffOne.\n\nTwo.")
    assert changed('["One.<|endoftext|>", "Two."]', "s.json")


def test_how_much_of_large_files_was_looked_at_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "tales"
    folder.mkdir()
    (folder / "a.txt").write_text("One.\n\nTwo.", encoding="utf-8")
    (folder / "b.json").write_text('["Three.", "Four."]', encoding="utf-8")
    told: list[tuple[str, float]] = []
    config = DataConfig(data=str(folder), valid_share=0.5)
    open_corpus(config, tmp_path, lambda stage, share: told.append((stage, share)))
    assert told == []
    monkeypatch.setattr(facts, "REMEMBERED", 10)
    open_corpus(config, tmp_path, lambda stage, share: told.append((stage, share)))
    assert {stage for stage, _ in told} == {"looking through tales"}
    shares = [share for _, share in told]
    assert shares == sorted(shares)
    assert shares[0] == 0.0
    assert 0.8 < shares[-1] <= 1.0
