"""`mlx-rev score`: the figures are of the right tokens and bytes, and the checker really judges."""

import json
import math
import re
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import mlx_rev
from mlx_rev.config import SampleConfig
from mlx_rev.data import bundled
from mlx_rev.generate.consistency import consistency
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


@dataclass
class Known:
    """A story that is known by heart."""

    text: str


@dataclass
class Knowing:
    """Tells the held-out stories by heart, but for those at some places."""

    spoilt: set[int]
    asked: list[str] = field(default_factory=list)

    def tell_all(self, endings: list[str], **settings: float) -> list["Known"]:
        self.asked = list(endings)
        of_ending = {story.ending: story.text for story in bundled.stories("valid")}
        texts = [
            "One day. " * (number in self.spoilt) + of_ending[ending]
            for number, ending in enumerate(endings)
        ]
        return [Known(text) for text in texts]


def test_the_stories_that_hold_together_are_counted_and_the_others_named() -> None:
    teller = Knowing(spoilt={1, 4})
    judged = consistency(teller, 6, SampleConfig())  # type: ignore[arg-type]
    assert (judged.stories, judged.consistent, judged.share) == (6, 4, pytest.approx(4 / 6))
    assert len(set(teller.asked)) == 6
    assert [text.endswith(teller.asked[n]) for (text, _), n in
            zip(judged.faults, (1, 4), strict=True)] == [True, True]  # fmt: skip
    assert all("'One day.'" in fault for _, fault in judged.faults)
