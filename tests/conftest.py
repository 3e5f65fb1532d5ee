"""What several test folders need: vocabularies, a small model, the data outside the project."""

from pathlib import Path

import pytest
from hypothesis import settings

from mlx_rev.config import ModelConfig
from mlx_rev.data import bundled
from mlx_rev.text.codec import StoryCodec
from mlx_rev.text.reversal import Reversal
from mlx_rev.text.tokenizer import Tokenizer

settings.register_profile("steady", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("steady")

SHARED = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real TinyStories and a real llama2.c model; skips where it is not."""
    if not SHARED.is_dir():
        pytest.skip(f"{SHARED} is not there: real data is no part of the project")
    return SHARED


@pytest.fixture(scope="session")
def some_stories() -> list[str]:
    """A few hundred bundled stories."""
    return [story.text for story in bundled.stories("train", count=400)]


@pytest.fixture(scope="session")
def tokenizers(some_stories: list[str]) -> dict[Reversal, Tokenizer]:
    """A small vocabulary for each order."""
    return {
        reversal: Tokenizer.train(map(reversal.reverse, some_stories), 400) for reversal in Reversal
    }


@pytest.fixture(scope="session")
def codecs(tokenizers: dict[Reversal, Tokenizer]) -> dict[Reversal, StoryCodec]:
    """A codec for each order."""
    return {reversal: StoryCodec(tokenizers[reversal], reversal) for reversal in Reversal}


@pytest.fixture(scope="session")
def tiny() -> ModelConfig:
    """A model of two layers that fits `codecs`."""
    return ModelConfig(
        dim=32, n_layers=2, n_heads=4, n_kv_heads=2, hidden_dim=64, vocab_size=400, context=96
    )
