"""One model that reads stories in both directions: from the corpus to what it tells."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mlx_rev import backend
from mlx_rev.config import DataConfig, Packing, RunConfig
from mlx_rev.data.batches import Batches
from mlx_rev.data.prepare import Prepared, prepare
from mlx_rev.formats.convert import convert
from mlx_rev.formats.detect import open_model
from mlx_rev.generate.judge import load_judge
from mlx_rev.generate.teller import Teller, load
from mlx_rev.model.load import load_model
from mlx_rev.model.score import score_stories
from mlx_rev.text.tokenizer import BOUNDARY, FORWARD_BOUNDARY
from mlx_rev.train.loop import fit


class Silent:
    def report(self, event: object) -> None:
        pass


@pytest.fixture(scope="module")
def both(some_stories: list[str], tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    folder = tmp_path_factory.mktemp("both")
    (folder / "stories.txt").write_text("\n<|endoftext|>\n".join(some_stories), encoding="utf-8")
    config = DataConfig(data=str(folder / "stories.txt"), reversal="word2,none", valid_share=0.1)
    return prepare(config, 320, folder / "cache")


@pytest.fixture(scope="module")
def run(both: Prepared, run_config: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("run") / "run"
    fit(run, _fitted(run_config, both), both, Silent())
    return run


@pytest.fixture(scope="module")
def teller(run: Path) -> Teller:
    return load(run)


def _fitted(config: RunConfig, data: Prepared) -> RunConfig:
    model = replace(config.model, vocab_size=data.codec.tokenizer.vocab_size)
    return replace(
        config, model=model, train=replace(config.train, steps=4, eval_stories=0, compile=False)
    )


def test_every_story_is_there_in_each_direction_between_its_own_marks(both: Prepared) -> None:
    forward = both.opposite
    assert forward is not None
    assert forward.codec.opposite is None
    for part, mark in ((both, BOUNDARY), (forward, FORWARD_BOUNDARY)):
        assert all(story[0] == story[-1] == mark for story in part.train.stories())
    assert both.train.story_count == forward.train.story_count
    for index in range(5):
        back, ahead = both.train.story(index)[1:-1], forward.train.story(index)[1:-1]
        assert both.codec.decode(back.tolist()) == forward.codec.decode(ahead.tolist())


@pytest.mark.parametrize("packing", ["epoch", "once"])
def test_an_epoch_has_the_stories_of_both_mixed_and_no_segment_has_both(
    both: Prepared, packing: Packing
) -> None:
    assert both.opposite is not None
    batches = Batches(
        [both.train, both.opposite.train], context=64, batch_size=1, seed=3, packing=packing
    )
    marks = []
    for step in range(batches.row_count):
        batch = batches.batch_at(step)
        inputs, starts = batch.inputs[batch.targets >= 0], batch.segment_start[batch.targets >= 0]
        for start in np.unique(starts):
            own = set(inputs[starts == start].tolist()) & {BOUNDARY, FORWARD_BOUNDARY}
            assert len(own) <= 1
            marks += own
    half = len(marks) // 2
    for part in (marks[:half], marks[half:]):
        assert 0.3 < part.count(BOUNDARY) / len(part) < 0.7


def test_a_run_says_what_it_can_do_and_measures_both(run: Path, both: Prepared) -> None:
    entries = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    logged = [entry for entry in entries if entry["kind"] == "eval"][-1]
    assert both.opposite is not None
    model = load_model(run, ops=backend.choose().ops).model
    for part, name in ((both, "bits_per_byte"), (both.opposite, "forward_bits_per_byte")):
        stories = [part.valid.story(index) for index in range(part.valid.story_count)]
        whole = score_stories(model, stories, int(part.valid.text_bytes.sum()))
        assert logged[name] == pytest.approx(whole.bits_per_byte, abs=1e-5)


def test_asked_to_read_forwards_it_is_its_forward_half(run: Path, teller: Teller) -> None:
    assert teller.opposite is not None
    forward = load(run, reversal="none")
    assert forward.codec.boundary == FORWARD_BOUNDARY
    ahead = forward.tell("Once", seed=1, max_tokens=20)
    assert ahead.text == teller.opposite.tell("Once", seed=1, max_tokens=20).text
    assert load(run, reversal="token").codec.boundary == BOUNDARY


@pytest.mark.parametrize("name", ["model.bin", "model.gguf", "folder"])
def test_every_format_keeps_both_directions(run: Path, tmp_path: Path, name: str) -> None:
    convert(open_model(run), tmp_path / name)
    codec = load_model(tmp_path / name).codec
    assert codec.order.name == "word2,none"
    assert codec.opposite is not None
    assert codec.opposite.boundary == FORWARD_BOUNDARY


def test_it_tells_from_an_ending_and_from_an_opening(teller: Teller) -> None:
    forward = teller.opposite
    assert forward is not None
    assert forward.opposite is None
    assert teller.grows_leftwards
    assert not forward.grows_leftwards
    back, ahead = teller.tell("They were happy."), forward.tell("Once upon a time")
    assert back.text.endswith("They were happy.")
    assert ahead.text.startswith("Once upon a time")
    assert back.spelling[0] == BOUNDARY
    assert ahead.spelling[0] == FORWARD_BOUNDARY


def test_one_direction_never_writes_the_other_s_mark(teller: Teller) -> None:
    assert teller.opposite is not None
    for own, other in ((teller, FORWARD_BOUNDARY), (teller.opposite, BOUNDARY)):
        stories = own.tell_all(["Tom"] * 8, temperature=5.0, top_p=1.0, max_tokens=30)
        assert all(other not in story.tokens for story in stories)


def test_as_a_judge_it_reads_forwards(run: Path, both: Prepared) -> None:
    judge, text = load_judge(str(run)), "Once upon a time there was a cat."
    assert judge.forward
    assert both.opposite is not None
    ids = np.array(both.opposite.codec.enclosed([text])[0])
    model = load_model(run, ops=backend.choose().ops).model
    expected = score_stories(model, [ids], 1).bits_per_byte * np.log(2)
    assert judge.text_nats([text])[0] == pytest.approx(expected, rel=1e-5)
