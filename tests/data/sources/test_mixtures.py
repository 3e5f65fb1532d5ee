"""Several sources, how often each is read, what is left out, and going on from anywhere."""

import json
from collections import Counter
from pathlib import Path

import pytest

from mlx_rev.config import DataConfig, validate
from mlx_rev.data import tinystories
from mlx_rev.data.corpus import Corpus, open_corpus
from mlx_rev.data.sources import duplicates
from mlx_rev.data.sources.part import Part
from mlx_rev.errors import ConfigError, DataError

A = [f"A story, number {number}." for number in range(400)]
B = [f"Another one, {number}." for number in range(300)]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "a.txt").write_text("\n\n".join(A))
    (tmp_path / "b.json").write_text(json.dumps(B))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("mlx_rev.data.sources.content.BLOCK", 1000)
    return tmp_path


def corpus(data: str, **options: object) -> Corpus:
    config = DataConfig(**{"data": data, "valid_share": 0.1, **options})
    validate(config)
    return open_corpus(config, Path("cache"))


def test_weights_repeat_and_sample_what_is_trained_on_alone(folder: Path) -> None:
    plain, mixed = corpus("a.txt,b.json"), corpus("a.txt=2.5,b.json=0.25")
    valid = list(plain.valid())
    assert list(mixed.valid()) == valid
    assert set(plain.train()) == {*A, *B} - set(valid)
    times = Counter(mixed.train())
    assert {times[story] for story in A} <= {0, 2, 3}
    assert all((story in valid) == (times[story] == 0) for story in A)
    assert 130 < sum(times[story] == 3 for story in A) < 230
    assert 45 < sum(times[story] for story in B) < 95
    assert max(times[story] for story in B) == 1
    assert list(mixed.train()) == list(mixed.train())
    train = list(mixed.train())
    first = train.index(train[0], 1)
    assert len(set(train[:first])) == first  # a repeat comes after all others


def test_which_half_is_repeated_has_nothing_to_do_with_what_is_held_out(folder: Path) -> None:
    times = Counter(corpus("a.txt=1.5", valid_share=0.4).train())
    assert 0.4 < sum(count == 2 for count in times.values()) / len(times) < 0.6


def test_a_source_with_held_out_stories_of_its_own_keeps_them(folder: Path) -> None:
    alone, mixed = corpus("bundled"), corpus("bundled=0.01,a.txt")
    valid = list(mixed.valid())
    assert set(alone.valid()) <= set(valid)
    assert 20 < len(set(valid) & set(A)) < 70
    assert 0 < len([story for story in mixed.train() if story not in A]) < 1000
    assert set(corpus("a.txt", valid="bundled").valid()) == set(alone.valid())


def resumed(part: Part) -> None:
    blocks = list(part.at())
    assert len(blocks) > 5
    assert [block.share for block in blocks] == sorted(block.share for block in blocks)
    assert blocks[-1].share == pytest.approx(1, abs=0.2)
    for number, block in enumerate(blocks):
        position = tuple(json.loads(json.dumps(block.after)))
        rest = [story for more in part.at(position) for story in more.stories]
        assert rest == [story for more in blocks[number + 1 :] for story in more.stories]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"limit": 150},
        {"deduplicate": True, "min_chars": 18},
        {"valid": "b.json"},
    ],
)
def test_what_follows_a_place_is_what_followed_it(folder: Path, options: dict[str, object]) -> None:
    (folder / "a2.txt").write_text("\n\n".join(A[100:200] + B))
    found = corpus("a*.txt=1.5,b.json=2", **options)
    resumed(found.train)
    assert list(found.train())
    if found.valid.streams[0].share:
        resumed(found.valid)


def test_limits_and_lengths(folder: Path) -> None:
    few = corpus("a.txt,b.json", limit=10)
    assert sorted([*few.train(), *few.valid()]) == sorted(A[:10] + B[:10])
    some = corpus("a.txt", min_chars=17, max_chars=23, limit=50)
    fitting = [story for story in A if 17 <= len(story) <= 23]
    assert sorted([*some.train(), *some.valid()]) == sorted(fitting[:50])
    with pytest.raises(DataError, match=r"no story of it \(400 in all\) has the length"):
        list(corpus("a.txt", min_chars=500).train())
    with pytest.raises(ConfigError, match="max_chars is 3, below min_chars 5"):
        corpus("a.txt", min_chars=5, max_chars=3)
    with pytest.raises(ConfigError, match="limit is -1"):
        corpus("a.txt", limit=-1)


@pytest.mark.parametrize("in_memory", [1 << 20, 500, 64])
def test_each_story_is_trained_on_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch, in_memory: int
) -> None:
    monkeypatch.setattr(duplicates, "MOST_IN_MEMORY", in_memory)
    stories = A + A[50:90] + B[:100] + ["A story, number 3. "] + A[::-1]
    (folder / "twice.txt").write_text("\n\n".join(stories))
    found = corpus("twice.txt,b.json=2", deduplicate=True, valid_share=1e-9)
    times = Counter(found.train())
    assert all(times[story] == 1 for story in A + B[:100])
    assert all(times[story] == 2 for story in B[100:])
    kept = [story for story in found.train() if story in A]
    assert kept == A  # the first of each
    assert f"repeated stories left out: {40 + 1 + 400 + 100:,}" in found.notices[-1]
    monkeypatch.setattr(Part, "refined", lambda *_: pytest.fail("they were looked for again"))
    assert corpus("twice.txt,b.json=2", deduplicate=True, valid_share=1e-9).notices == found.notices


def test_held_out_stories_of_a_sources_own_are_no_duplicates_of_the_others(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are numbered as the stories to train on are; here those of the same numbers go."""
    (folder / "train.txt").write_text("\n\n".join(B[:100] + B[:50]))
    (folder / "valid.txt").write_text("\n\n".join(A))
    files = (folder / "train.txt", folder / "valid.txt")
    monkeypatch.setattr(tinystories, "fetch_version_2", lambda progress: files)
    (folder / "twice.txt").write_text("\n\n".join(B[100:] + B[100:]))
    found = corpus("tinystories-v2,twice.txt", deduplicate=True, valid_share=0.3)
    held_out = list(found.valid())
    assert held_out[:400] == A
    shared = [*found.train(), *held_out[400:]]
    assert sorted(shared) == sorted(B)


def test_all_that_decides_the_stories_is_in_the_fingerprint(folder: Path) -> None:
    settings: list[tuple[str, dict[str, object]]] = [
        ("a.txt", {}),
        ("b.json", {}),
        ("a.txt", {"min_chars": 5}),
        ("a.txt", {"max_chars": 5}),
        ("a.txt", {"limit": 5}),
        ("a.txt", {"deduplicate": True}),
        ("a.txt", {"repair": True}),
        ("a.txt", {"on_error": "skip"}),
        ("a.txt", {"valid": "b.json"}),
        ("a.txt", {"field": "tale"}),
        ("a.txt=2", {}),
        ("a.txt,b.json", {}),
        ("b.json,a.txt", {}),
        ("a.txt,b.json=2", {}),
    ]
    prints = [corpus(data, **options).fingerprint for data, options in settings]
    assert len(set(prints)) == len(settings)
    assert corpus("a.txt,b.json=2").fingerprint == prints[-1]


def test_repair_is_for_what_was_decoded_wrongly_and_quotes(folder: Path) -> None:
    wrong = "It’s hers.\nShe’s – here.".encode().decode("cp1252")
    quotes = "‘Oh’, “she” said… &amp; ﬁn."
    stories = [wrong, f"{quotes}\n{wrong}", 'Plain "one".', "Ein schöner Tag – ja."]
    (folder / "odd.txt").write_text("\n\n".join(stories))
    options = {"valid_share": 1e-9}
    assert list(corpus("odd.txt", **options).train()) == stories
    found = list(corpus("odd.txt", repair=True, **options).train())
    right = "It's hers.\nShe's – here."
    assert found[:2] == [right, f"'Oh', \"she\" said… &amp; ﬁn.\n{right}"]
    assert found[2:] == stories[2:]


def test_repair_makes_nothing_that_no_tokenizer_takes(folder: Path) -> None:
    stories = ["He said â–\x81 hello.\nShe’s here.", "One.", "Two."]
    (folder / "odd.txt").write_text("\n\n".join(stories))
    found = list(corpus("odd.txt", repair=True, valid_share=1e-9).train())
    assert found == ["He said â–\x81 hello.\nShe's here.", "One.", "Two."]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"limit": 1}, "one story is all that --limit leaves of it"),
        ({"min_chars": 31}, "one story is all that --min-chars leaves of it"),
        (
            {"min_chars": 31, "max_chars": 99},
            "one story is all that --min-chars and --max-chars leave of it",
        ),
        ({"deduplicate": True, "max_chars": 5}, "--max-chars and --deduplicate leave of it"),
    ],
)
def test_what_leaves_one_story_alone_is_named(
    folder: Path, options: dict[str, object], said: str
) -> None:
    stories = [*A, "One.", "One.", "This one is longer than the others."]
    (folder / "c.txt").write_text("\n\n".join(stories))
    with pytest.raises(DataError, match=said) as caught:
        list(corpus("c.txt", **options).train())
    assert "blank line" not in str(caught.value)


def test_a_limit_has_no_part_in_it_where_there_is_one_story(folder: Path) -> None:
    (folder / "c.txt").write_text("One story.")
    with pytest.raises(DataError, match="all of it is one story"):
        list(corpus("c.txt", limit=2, max_chars=100).train())


def test_a_weight_that_leaves_nothing_is_named(folder: Path) -> None:
    with pytest.raises(DataError, match="give more text, a larger weight, another --valid-share"):
        list(corpus("a.txt=0.000001").train())
    with pytest.raises(DataError, match="give more text, another --valid-share"):
        list(corpus("a.txt", valid_share=1 - 1e-9).train())
