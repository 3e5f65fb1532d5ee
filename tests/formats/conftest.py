"""Models of odd shapes, in memory, for the formats."""

from dataclasses import replace

import numpy as np
import pytest

from mlx_rev.config import ModelConfig
from mlx_rev.formats import names
from mlx_rev.formats.model_file import ModelFile, from_arrays
from mlx_rev.text.codec import StoryCodec
from mlx_rev.text.order import WORD, Order
from mlx_rev.text.tokenizer import Tokenizer


def drawn(config: ModelConfig, seed: int = 0) -> ModelFile:
    """A model with random weights, its embedding's first row all zeros."""
    rng = np.random.default_rng(seed)
    arrays = {
        name: rng.normal(size=shape).astype(np.float32)
        for name, shape in names.shapes(config).items()
    }
    arrays[names.EMBEDDING][0] = 0
    return from_arrays("drawn", config, arrays)


@pytest.fixture(scope="session")
def talking(tiny: ModelConfig, codecs: dict[Order, StoryCodec]) -> ModelFile:
    """A random model with a tokenizer, word-reversed."""
    codec = codecs[WORD]
    return replace(drawn(tiny), tokenizer=codec.tokenizer, order=codec.order)


@pytest.fixture(scope="session")
def tokenizer(codecs: dict[Order, StoryCodec]) -> Tokenizer:
    """A vocabulary of 400 pieces."""
    return codecs[WORD].tokenizer
