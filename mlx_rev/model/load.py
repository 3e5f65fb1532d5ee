"""A model in memory from a model on disk."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mlx.core as mx

from mlx_rev.config import SampleConfig
from mlx_rev.errors import FormatError
from mlx_rev.formats.detect import open_model
from mlx_rev.formats.model_file import ModelFile
from mlx_rev.model.llama import Llama, Weights, set_weights
from mlx_rev.model.ops import Ops
from mlx_rev.text.codec import StoryCodec
from mlx_rev.text.order import ASSUMED, FORWARD, Order
from mlx_rev.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class Loaded:
    """A model and the codec it was trained with."""

    model: Llama
    codec: StoryCodec
    settings: SampleConfig = field(default_factory=SampleConfig)
    """How stories are best told with it; what the file does not say is SampleConfig's default."""

    @property
    def says_reversal(self) -> bool:
        """Whether the file said how its text is reversed; otherwise it is assumed not to be."""
        return not self.codec.by_others


def load_model(
    reference: str | Path,
    *,
    tokenizer: Path | None = None,
    order: Order | None = None,
    ops: Ops | None = None,
) -> Loaded:
    """Load what `open_model` opens, to run with the forms `ops`. Of a model of both directions, the
    order FORWARD is its forward half.

    Raises FormatError where it has no tokenizer, and so cannot talk.
    """
    opened = open_model(reference, tokenizer=tokenizer)
    if opened.tokenizer is None:
        raise FormatError(
            f"{reference}: has no tokenizer of its own that can be read (tokenizer.model, "
            "tokenizer.bin, tokenizer.json), or was written without one; give --tokenizer"
        )
    model = Llama(opened.config, ops)
    set_weights(model, read_weights(opened))
    stated: dict[str, Any] = dict(opened.settings)
    return Loaded(model, _codec(opened.tokenizer, opened.order, order), SampleConfig(**stated))


def _codec(tokenizer: Tokenizer, stated: Order | None, given: Order | None) -> StoryCodec:
    """How stories are read in the order given or, without one, in that which the file states."""
    if given is FORWARD and stated is not None:
        own = StoryCodec(tokenizer, stated)
        if own.opposite is not None:
            return own.opposite
    order = given or stated
    return StoryCodec(tokenizer, order or ASSUMED, by_others=order is None)


def read_weights(opened: ModelFile) -> Weights:
    """All weights of a model on disk, in memory as float32."""
    weights = {name: mx.array(weight) for name, weight in opened.weights()}
    mx.eval(weights)
    return weights
