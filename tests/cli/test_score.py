"""`mlx-rev score`: the figures are of the right tokens and bytes, and the checker really judges."""

import io
import json
import math
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import pytest
from rich.console import Console

import mlx_rev
from mlx_rev.cli import score
from mlx_rev.config import SampleConfig
from mlx_rev.config_file import read_toml
from mlx_rev.data import bundled
from mlx_rev.data.corpus import open_corpus
from mlx_rev.data.sources.standard_input import spooled
from mlx_rev.generate.consistency import Consistency, consistency
from mlx_rev.generate.teller import Teller
from mlx_rev.model.score import token_nats
from mlx_rev.text.tokenizer import BOUNDARY
from tests.conftest import Run

# Of more bytes than characters.
STORIES = ["Tom went home. “Très bien!” said Mom.", "A dog ran. 日本."]


def test_the_figures_are_of_every_token_and_utf8_byte(
    run: Run, trained: Path, tmp_path: Path
) -> None:
    path = tmp_path / "s.jsonl"
    path.write_text("".join(json.dumps({"story": story}) + "\n" for story in STORIES))
    for count, stories in ((0, STORIES), (1, STORIES[:1])):
        done = run("score", path, "--model", trained, "--count", count)
        assert done.returncode == 0, done.stderr
        found = re.fullmatch(
            r"(\d+) stories, (\d+) bytes, (\d+) tokens: "
            r"([\d.]+) nats per token, ([\d.]+) bits per byte\n",
            done.stdout,
        )
        assert found, done.stdout
        teller = mlx_rev.load(trained)
        sequences = [[BOUNDARY, *teller.codec.encode(story), BOUNDARY] for story in stories]
        nats = sum(float(token_nats(teller.model, [ids])[0].sum()) for ids in sequences)
        size = len("".join(stories).encode())
        tokens = sum(len(ids) - 1 for ids in sequences)
        assert [int(number) for number in found.groups()[:3]] == [len(stories), size, tokens]
        assert float(found[4]) == pytest.approx(nats / tokens, abs=1e-3)
        assert float(found[5]) == pytest.approx(nats / math.log(2) / size, abs=1e-3)


def test_what_hardly_trained_tells_is_not_called_consistent(run: Run, trained: Path) -> None:
    flags = ("--count", 2, "--endings", 3, "--max-tokens", 20)
    done = run("score", "bundled", "--model", trained, *flags)
    assert done.returncode == 0, done.stderr
    first, second, *faults = done.stdout.splitlines()
    assert first.startswith("2 stories, ")
    assert second.startswith("0 of 3 stories told from held-out endings are consistent")
    assert len(faults) == 3


def test_without_a_text_a_run_is_scored_on_what_its_corpus_holds_out(
    run: Run, trained: Path
) -> None:
    data = read_toml(trained / "config.toml").data
    held_out = list(islice(open_corpus(data, trained).valid(), 3))
    done = run("score", "--model", trained, "--count", 3, "--json", "-")
    assert done.returncode == 0, done.stderr
    assert done.stderr == f"mlx-rev score: {data.data}, held-out stories\n"
    assert [story["text"] for story in json.loads(done.stdout)["stories"]] == held_out
    for model in ("stories9m", trained / "checkpoints" / "step-00000060" / "config.json"):
        assert "nothing to score" in run("score", "--model", model).stderr


def test_only_what_learnt_from_the_bundled_stories_is_judged_by_their_rules(
    run: Run, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def watched(teller: Teller, count: int, *_: object) -> Consistency:
        asked.append(count)
        return Consistency(count, count, ())

    monkeypatch.setattr("mlx_rev.cli.score.consistency", watched)
    shutil.copytree(trained, tmp_path / "run", symlinks=True)
    config = tmp_path / "run" / "config.toml"
    data = read_toml(config).data.data
    other = tmp_path / "other.txt"
    other.write_text("Tom ran.\n\nA dog sat.\n\nHe ate.")
    config.write_text(config.read_text().replace(f'"{data}"', f'"{other},bundled=2"'))
    for name in (tmp_path / "run", tmp_path / "run" / "checkpoints" / "latest", trained):
        done = run("score", "bundled", "--count", 1, "--model", name)
        assert done.returncode == 0, done.stderr
    assert asked == [100, 100]
    run("score", "bundled", "--count", 1, "--model", trained, "--model", tmp_path / "run")
    assert asked == [100] * 3
    for text, flags, expected in (
        ("Tom ran.", (), []),
        ("Tom ran.", ("--endings", 5), [5]),
        (other, ("--endings", 6), [6]),
        (None, (), [100]),
    ):
        asked.clear()
        texts = [text] if text else []
        done = run("score", *texts, "--count", 1, *flags, "--model", tmp_path / "run")
        assert (done.returncode, asked) == (0, expected), done.stderr


def test_a_run_of_standard_input_is_named_as_that(
    run: Run, trained: Path, tmp_path: Path, command_environment: dict[str, str]
) -> None:
    shutil.copytree(trained, tmp_path / "run", symlinks=True)
    cache = Path(command_environment["MLX_REV_CACHE"])
    config, data = tmp_path / "run" / "config.toml", read_toml(trained / "config.toml").data.data
    recipe = config.read_text()
    lines = "".join(f'"A {n} was red. The {n} ran home."\n' for n in range(100))
    # A notice of how lines are read, and an error that comes only while they are read.
    for piped, code, said in ((lines, 0, "neither"), ('{"story": "A."}\n{', 2, "line 2")):
        kept = spooled("-", io.BytesIO(piped.encode()), cache)
        config.write_text(recipe.replace(f'"{data}"', f'"{kept}"'))
        done = run("score", "--model", tmp_path / "run")
        assert done.returncode == code, done.stderr
        first, second = done.stderr.splitlines()
        assert first == "mlx-rev score: standard input, held-out stories"
        assert second.startswith(f"mlx-rev score: standard input: {said}")


def test_in_a_terminal_lines_break_at_words(monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=30, color_system=None)
    monkeypatch.setattr("mlx_rev.cli.score.make_console", lambda: console)
    score._write("Tom had a red ball in the garden.", "  1.234  ")
    score._write("Tom had a ball.", "  1.234  1.234  1.234  ")
    score._write("Tom had a red ball in the garden.")
    assert console.file.getvalue().splitlines() == [  # type: ignore[attr-defined]
        "  1.234  Tom had a red ball in",
        "         the garden.",
        "  1.234  1.234  1.234  ",
        "  Tom had a ball.",
        "Tom had a red ball in the",
        "garden.",
    ]


TEXT = 'Once there was a fox. He said, "Hi!" They all went home.'


def test_a_text_is_scored_sentence_by_sentence(run: Run, trained: Path) -> None:
    done = run("score", TEXT, "--model", trained)
    assert done.returncode == 0, done.stderr
    total, _, head, *lines = done.stdout.splitlines()
    assert re.match(rf"{len(TEXT)} bytes, \d+ tokens: ", total)
    assert head.split() == ["bits/byte"]
    assert [line.split(maxsplit=1)[1] for line in lines] == [
        "Once there was a fox.",
        'He said, "Hi!"',
        "They all went home.",
    ]


def test_two_models_and_their_difference(run: Run, trained: Path, tmp_path: Path) -> None:
    target = tmp_path / "scores.json"
    flags = ("--model", trained, "--model", "weights/stories9m", "--json", target)
    root = Path(__file__).parents[2]
    done = run("score", TEXT, *flags, cwd=root)
    assert done.returncode == 0, done.stderr
    found = json.loads(target.read_text())
    own, other = (model["bits_per_byte"] for model in found["models"])
    assert own > other + 0.5
    assert found["difference"]["mean"] == pytest.approx(own - other)
    assert f"difference: {own - other:+.4f} bits per byte\n" in done.stdout
    [story] = found["stories"]
    assert "".join(sentence["text"] for sentence in story["sentences"]) == story["text"] == TEXT
    for place, model in enumerate(found["models"]):
        assert story["bits"][place] == pytest.approx(model["bits_per_byte"] * len(TEXT))
        inside = sum(sentence["bits"][place] for sentence in story["sentences"])
        assert story["bits"][place] > inside  # which has not the boundary's
    lines = done.stdout.splitlines()[-3:]
    for line, sentence in zip(lines, story["sentences"], strict=True):
        first, second = (bits / len(sentence["text"]) for bits in sentence["bits"])
        figures = [float(cell) for cell in line.split()[:3]]
        assert figures == pytest.approx([first, second, first - second], abs=6e-4)
    alone = run("score", TEXT, "--model", trained, "--model", trained, "--json", "-")
    [twice] = json.loads(alone.stdout)["stories"]
    assert all(first == second for first, second in (one["bits"] for one in twice["sentences"]))


def test_of_two_models_each_takes_only_what_its_file_does_not_say(
    run: Run, trained: Path, tmp_path: Path
) -> None:
    bare = tmp_path / "bare.bin"
    assert run("convert", trained, bare).returncode == 0
    (tmp_path / "bare.bin.json").unlink()
    tokenizer = trained / "tokenizer.model"
    flags = ("--tokenizer", tokenizer, "--reversal", "token")
    done = run("score", TEXT, "--model", trained, "--model", bare, *flags, "--json", "-")
    assert done.returncode == 0, done.stderr
    kinds = [model["reversal"] for model in json.loads(done.stdout)["models"]]
    assert kinds == ["word2", "token"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "nothing to score; give a text, such as"),
        ((" ",), "nothing to score"),
        (("gone.txt",), "gone.txt: no such file"),
        (("gone/all",), "gone/all: unknown kind of corpus"),
        (("A text.", "--json", "x.yaml"), "--json x.yaml: expected a name that ends in .json"),
        (("A text.", *("--model", "x") * 3), "--model was given 3 times"),
    ],
)
def test_what_cannot_be_scored(run: Run, arguments: tuple[str, ...], said: str) -> None:
    done = run("score", *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


@dataclass
class Known:
    """A story that is known by heart."""

    text: str
    finished: str | None = None


@dataclass
class Knowing:
    """Tells the held-out stories by heart, but for those at some places."""

    spoilt: set[int]
    asked: list[str] = field(default_factory=list)

    def begin(self, endings: list[str], settings: SampleConfig) -> list["Known"]:
        self.asked = list(endings)
        of_ending = {story.ending: story.text for story in bundled.stories("valid")}
        texts = [
            "One day. " * (number in self.spoilt) + of_ending[ending]
            for number, ending in enumerate(endings)
        ]
        return [Known(text) for text in texts]

    def write(self, stories: list["Known"], settings: SampleConfig) -> Iterator["Known"]:
        for story in stories:
            story.finished = "boundary"
            yield story


def test_the_stories_that_hold_together_are_counted_and_the_others_named() -> None:
    teller = Knowing(spoilt={1, 4})
    shares: list[float] = []
    judged = consistency(teller, 6, SampleConfig(), shares.append)  # type: ignore[arg-type]
    assert shares == pytest.approx([1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6, 1])
    assert (judged.stories, judged.consistent, judged.share) == (6, 4, pytest.approx(4 / 6))
    assert len(set(teller.asked)) == 6
    assert [text.endswith(teller.asked[n]) for (text, _), n in
            zip(judged.faults, (1, 4), strict=True)] == [True, True]  # fmt: skip
    assert all("'One day.'" in fault for _, fault in judged.faults)


def test_stories_are_told_with_the_models_own_settings_where_others_are_not_given(
    run: Run, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[bool, int, SampleConfig]] = []

    def watched(
        teller: Teller, count: int, settings: SampleConfig, progress: object
    ) -> Consistency:
        asked.append((teller.grows_leftwards, count, settings))
        return Consistency(count, count, ())

    monkeypatch.setattr("mlx_rev.cli.score.consistency", watched)
    model = tmp_path / "model"
    shutil.copytree(trained / "checkpoints" / "step-00000060", model)
    own = {"do_sample": True, "temperature": 0.25, "repetition_penalty": 1.5}
    (model / "generation_config.json").write_text(json.dumps(own))
    flags = ("--count", 1, "--endings", 3, "--seed", 4, "--repetition-penalty", 1.0)
    done = run("score", "bundled", "--model", model, "--model", trained, *flags)
    assert done.returncode == 0, done.stderr
    assert asked == [
        (True, 3, SampleConfig(temperature=0.25, seed=4)),
        (True, 3, SampleConfig(seed=4)),
    ]
    assert "consistent (temperature 0.25)" in done.stdout
    assert "consistent (temperature 0.8)" in done.stdout
    # A model that reads forwards takes no endings.
    done = run("score", "bundled", "--model", trained, "--reversal", "none", *flags)
    assert (done.returncode, len(asked)) == (0, 2), done.stderr
    assert "consistent" not in done.stdout
