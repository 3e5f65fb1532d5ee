"""What training reports as its validation: of how many stories, tokens and bytes."""

import pytest

from mlx_rev.config import ModelConfig
from mlx_rev.data.prepare import Prepared
from mlx_rev.model.llama import Llama, initialise
from mlx_rev.model.score import token_nats
from mlx_rev.train.loop import evaluate


@pytest.mark.parametrize("asked", [1, 7, 0])
def test_so_many_stories_are_scored_as_are_asked_for(
    tiny: ModelConfig, prepared: Prepared, asked: int
) -> None:
    """0 asks for all."""
    model = Llama(tiny)
    initialise(model, seed=2)
    shard = prepared.valid
    assert shard.story_count > 7
    count = asked or shard.story_count
    score = evaluate(model, shard, asked)
    stories = [shard.story(index) for index in range(count)]
    # Their tokens, and the boundary after each.
    assert score.tokens == sum(len(story) - 1 for story in stories)
    assert score.text_bytes == sum(shard.text_bytes[index] for index in range(count))
    nats = sum(float(row.sum()) for row in token_nats(model, stories))
    assert score.nats == pytest.approx(nats, rel=1e-5)


def test_no_more_stories_are_scored_than_there_are(tiny: ModelConfig, prepared: Prepared) -> None:
    model = Llama(tiny)
    initialise(model, seed=2)
    assert evaluate(model, prepared.valid, 10_000) == evaluate(model, prepared.valid, 0)
