"""`mlx-rev evaluate`: where its stories come from, what it says and writes, what it refuses."""

import json
from pathlib import Path

import pytest

from mlx_rev.data import bundled
from mlx_rev.formats.detect import built_in_model
from mlx_rev.text.sentences import last_sentences
from tests.conftest import Run

SETTINGS = ("--count", 4, "--max-tokens", 10)
ENDINGS = ["They went home.", "The dog was happy.", "Tom slept well."]


@pytest.fixture(scope="session")
def forward(run: Run, tiny_flags: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A forward run that hardly trained: a judge for what a judge is asked."""
    folder = tmp_path_factory.mktemp("forward") / "run"
    flags = ("--steps", 5, "--reversal", "none", "--out", folder, "--plain")
    done = run("train", *tiny_flags, *flags)
    assert done.returncode == 0, done.stderr
    return folder


def test_a_run_is_measured_on_its_own_held_out_stories_and_training_text(
    run: Run, trained: Path, forward: Path, tmp_path: Path
) -> None:
    command = ("evaluate", trained, "--judge", forward, *SETTINGS)
    done = run(*command, "--json", tmp_path / "a.json", "--plot", tmp_path / "a.png")
    assert done.returncode == 0, done.stderr
    assert "note:" not in done.stderr
    assert "matching model stories with 4 endings" in done.stderr
    for label in ("ending recognised (R@1)", "bits per byte", "longest copied run"):
        assert label in done.stdout
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    content = json.loads((tmp_path / "a.json").read_text())
    assert (content["endings"], content["judges"]) == (4, [str(forward)])
    assert content["training_text"].endswith("stories.txt")
    assert content["settings"]["max_tokens"] == 10
    assert content["rows"]["real"]["unknown_words"]["mean"] < 0.2
    again = run(*command, "--json", "-")
    assert again.stdout == (tmp_path / "a.json").read_text()
    other = json.loads(run(*command, "--json", "-", "--seed", 5).stdout)
    assert other["stories"] != content["stories"]


def test_what_is_chosen_of_several_is_measured_too(run: Run, trained: Path, forward: Path) -> None:
    flags = ("--best-of", 2, "--chooser", forward, "--json", "-")
    done = run("evaluate", trained, *SETTINGS, *flags)
    assert done.returncode == 0, done.stderr
    content = json.loads(done.stdout)
    assert list(content["rows"]) == ["model", "best of 2", "real", "shuffled"]
    assert (content["best_of"], content["chooser"], len(content["best"])) == (2, str(forward), 4)
    for wrong, said in (
        (("--best-of", 0), "--best-of 0: expected 1 or more"),
        (("--chooser", forward), "chooses among stories; give --best-of too"),
    ):
        refused = run("evaluate", trained, *wrong)
        assert refused.returncode == 2
        assert said in refused.stderr


def test_without_a_judge_or_a_training_text_the_rest_is_measured(run: Run, tmp_path: Path) -> None:
    """The shipped model, named by nobody, on the bundled stories."""
    done = run("evaluate", *SETTINGS, "--json", "-")
    assert done.returncode == 0, done.stderr
    assert "without --judge MODEL" in done.stderr
    assert "without --train-text" in done.stderr
    content = json.loads(done.stdout)
    assert (content["model"], content["real_stories_of"]) == ("stories9m", "bundled")
    assert content["training_text"] is None
    assert not {"retrieved", "bits_per_byte", "copied"} & set(content["measures"])
    endings = [story.ending for story in bundled.stories("valid", count=4)]
    assert [story["ending"] for story in content["stories"]] == endings


def test_a_backward_judge_says_only_how_likely_a_story_is(run: Run, trained: Path) -> None:
    judges = ("--judge", trained, "--judge", trained)
    done = run("evaluate", *judges, trained, *SETTINGS, "--json", "-")
    assert done.returncode == 0, done.stderr
    assert "no judge reads forwards" in done.stderr
    measures = json.loads(done.stdout)["measures"]
    assert {"bits_per_byte", "bits_per_byte_2"} <= set(measures)
    assert "retrieved" not in measures


def test_stories_endings_and_the_training_text_may_be_named(
    run: Run, trained: Path, tmp_path: Path
) -> None:
    texts = [f"A {thing} was red. The {thing} ran home." for thing in ("cat", "dog", "fox", "hen")]
    valid, endings, training = (tmp_path / f"{name}.txt" for name in ("valid", "ends", "train"))
    valid.write_text("\n\n".join(texts))
    training.write_text("\n\n".join(texts[:2]))
    endings.write_text("\n".join([*ENDINGS, "", ENDINGS[0], "  The end came soon. "]), "utf-8-sig")
    command = ("evaluate", trained, "--valid", valid, *SETTINGS, "--json", "-")
    content = json.loads(run(*command, "--train-text", training).stdout)
    assert [story["ending"] for story in content["stories"]] == list(map(last_sentences, texts))
    assert content["rows"]["real"]["unknown_words"]["values"] == [
        0, 0, pytest.approx(2 / 8), pytest.approx(2 / 8)
    ]  # fmt: skip
    assert content["rows"]["real"]["copied"]["values"] == [4, 4, 2, 2]
    content = json.loads(run(*command, "--endings", endings).stdout)
    assert [story["ending"] for story in content["stories"]] == [*ENDINGS, "The end came soon."]
    assert content["real_stories_of"] == str(valid)


def test_rows_have_as_many_endings_as_the_fewer_of_the_two(
    run: Run, trained: Path, forward: Path, tmp_path: Path
) -> None:
    """Of four endings the one that belongs is found more easily than of six."""
    valid, endings = tmp_path / "valid.txt", tmp_path / "ends.txt"
    valid.write_text("\n\n".join(f"A {n} was red. The {n} ran home." for n in "abcdef"))
    endings.write_text("\n".join([*ENDINGS, "The end came soon."]))
    command = ("evaluate", trained, "--judge", forward, "--valid", valid, "--max-tokens", 3)
    for flags, count, said in (
        ((), 4, "ends.txt has 4 different endings, so --count is 4"),
        (("--count", 3), 3, None),
    ):
        done = run(*command, "--endings", endings, "--json", "-", *flags)
        assert done.returncode == 0, done.stderr
        assert ("so --count" in done.stderr) is (said is not None)
        assert said is None or said in done.stderr
        content = json.loads(done.stdout)
        assert content["endings"] == count
        assert {len(row["retrieved"]["values"]) for row in content["rows"].values()} == {count}
        assert content["chance"]["retrieved"] == pytest.approx(1 / count, rel=1e-5)


def test_a_corpus_that_is_named_is_not_taken_for_the_training_text(run: Run, trained: Path) -> None:
    done = run("evaluate", trained, "--data", "bundled", *SETTINGS, "--json", "-")
    assert json.loads(done.stdout)["training_text"] is None


def test_the_corpus_may_come_through_a_pipe(run: Run, trained: Path, tmp_path: Path) -> None:
    stories = "\n\n".join(f"A {n} was red. The {n} ran home." for n in range(400))
    options = ("--data", "-", "--cache", tmp_path, "--count", 3, "--max-tokens", 3)
    done = run("evaluate", trained, *options, "--json", "-", stdin=stories)
    assert done.returncode == 0, done.stderr
    content = json.loads(done.stdout)
    assert content["real_stories_of"] == "standard input"
    assert all(story["ending"].endswith("ran home.") for story in content["stories"])


def test_fewer_endings_than_asked_for_are_said(run: Run, trained: Path, tmp_path: Path) -> None:
    valid = tmp_path / "valid.txt"
    valid.write_text("\n\n".join(f"A {n} was red. The {n} ran home." for n in "abc"))
    done = run("evaluate", trained, "--valid", valid, "--max-tokens", 3)
    assert done.returncode == 0, done.stderr
    assert "has 3 different endings, so --count is 3" in done.stderr


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--count", 2], "--count 2: expected 3 or more"),
        (["--json", "a.txt"], "--json a.txt: expected a name that ends in .json"),
        (["--plot", "-"], "--plot -: expected a name that ends in .png"),
        (["--temperature", -1], "temperature is -1.0"),
        (["--judge", "no-such"], "no-such: no such model"),
        (["--endings", "few.txt"], "few.txt: has 2 different endings, expected 3 or more"),
        (["--endings", "odd.txt"], "odd.txt: byte 1 is not UTF-8"),
        (["--endings", "mark.txt"], "mark.txt: line 2: the text has U+2581"),
        (["--endings", "."], ".: is a folder"),
        (["--endings", "missing.txt"], "missing.txt: No such file"),
        (["--valid", "few.txt"], "few.txt: has 0 held-out stories"),
        (["--valid", "missing.txt"], "missing.txt: no such file"),
        (["--train-text", "missing.txt"], "missing.txt: no such file"),
        (["--data", "missing.txt"], "missing.txt: no such file"),
        (["--judge-tokenizer", "missing.model", "--judge", "bare.gguf"], "bare.gguf: no such"),
    ],
)
def test_what_cannot_be_is_said_in_a_line(
    run: Run, tmp_path: Path, flags: list[object], said: str
) -> None:
    (tmp_path / "few.txt").write_text("One.\nTwo.\nOne.\n")
    (tmp_path / "odd.txt").write_bytes(b"a\xff")
    (tmp_path / "mark.txt").write_text("One.\nA▁b.\n")
    done = run("evaluate", "stories9m", *flags, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    *notes, error = done.stderr.splitlines()
    assert error.startswith("mlx-rev evaluate: ")
    assert said in error
    assert all(note.startswith("note: ") for note in notes)


def test_a_chooser_that_reads_backwards_is_refused_before_anything_is_told(
    run: Run, trained: Path
) -> None:
    done = run("evaluate", trained, *SETTINGS, "--best-of", 2, "--chooser", trained)
    assert (done.returncode, done.stdout) == (2, "")
    assert "expected a model that reads forwards" in done.stderr
    assert "telling" not in done.stderr


def test_stories_at_once_that_fit_no_memory_are_refused_by_their_own_option(
    run: Run, trained: Path
) -> None:
    for command in (("evaluate", trained), ("tell", "The end came.", "--model", trained)):
        done = run(*command, "--best-of", 10**9)
        assert done.returncode == 2
        assert "give a smaller --best-of" in done.stderr
    done = run("tell", "The end came.", "--model", trained, "--count", 10**7)
    assert "give a smaller --count, or fewer endings" in done.stderr


def test_a_forward_model_is_refused_before_anything_is_read(run: Run, forward: Path) -> None:
    done = run("evaluate", forward, "--valid", "missing.txt")
    assert done.returncode == 2
    assert "a forward model takes no endings" in done.stderr


@pytest.mark.slow
def test_the_measures_rank_real_stories_above_a_good_model_above_a_small_one(
    run: Run, shared: Path, tmp_path: Path
) -> None:
    """A minute or two: a small model is trained first, on few stories."""
    valid, small = shared / "tinystories" / "valid.txt", tmp_path / "small"
    text = (shared / "tinystories" / "train.txt").read_text(encoding="utf-8")
    stories = text.split("<|endoftext|>", 1501)[:1500]
    (tmp_path / "train.txt").write_text("<|endoftext|>".join(stories), encoding="utf-8")
    shape = ("--vocab-size", 512, "--dim", 48, "--n-layers", 2, "--hidden-dim", 128)
    steps = ("--steps", 150, "--warmup", 20, "--learning-rate", 8e-3, "--batch-size", 8)
    rarely = ("--eval-stories", 20, "--eval-every", 150, "--sample-every", 150, "--no-compile")
    corpus = ("--data", tmp_path / "train.txt", "--valid", valid, "--out", small)
    done = run("train", *corpus, *shape, *steps, *rarely, "--plain")
    assert done.returncode == 0, done.stderr
    judge = shared / "llama2c" / "stories260K.bin"
    rows = {}
    for model in (built_in_model(), small):
        command = ("evaluate", model, "--judge", judge, "--valid", valid, "--count", 25)
        content = json.loads(run(*command, "--json", "-").stdout)
        rows[str(model)] = content["rows"]["model"]
        rows |= {name: content["rows"][name] for name in ("real", "shuffled")}
    ordered = [rows[name] for name in ("real", str(built_in_model()), str(small))]
    for key, better in (
        ("retrieved", max),
        ("reciprocal_rank", max),
        ("ending_bits_per_byte", min),
        ("stray_names", min),
    ):
        values = [row[key]["mean"] for row in ordered]
        assert values == sorted(set(values), reverse=better is max), (key, values)
    # What hardly trained may ignore the ending altogether, and then is where shuffled stories are.
    for key in ("retrieved", "reciprocal_rank"):
        assert rows["shuffled"][key]["high"] < ordered[1][key]["low"], key
        assert ordered[2][key]["mean"] > rows["shuffled"][key]["low"] - 0.05, key
    # Likelihood alone takes a bland model for better than people; loops tell them apart.
    assert ordered[1]["bits_per_byte"]["mean"] < ordered[0]["bits_per_byte"]["mean"]
    assert ordered[1]["commonest_word"]["mean"] > ordered[0]["commonest_word"]["mean"]
    for key in ("unbalanced_quotes", "bits_per_byte"):
        assert ordered[2][key]["mean"] > ordered[1][key]["mean"], key
