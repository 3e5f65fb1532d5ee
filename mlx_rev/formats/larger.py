"""A larger Llama that says almost what a small one says: a start for further training.

What is new is wired so that hardly anything changes at first (Chen, Goodfellow and Shlens,
"Net2Net: Accelerating Learning via Knowledge Transfer", 2016). A new layer is a copy of the one
before it that writes nothing, as do new heads and feed-forward units: the matrix that would write
is zero there. A new number of the residual stream begins as a little noise that nothing reads, and
the norms are scaled for the wider stream. (Where the output projection is the embedding, that reads
it.) Training finds a use for all of it.
"""

from dataclasses import replace

import numpy as np

from mlx_rev.config import ModelConfig, validate
from mlx_rev.errors import ConfigError
from mlx_rev.formats import names
from mlx_rev.formats.model_file import ModelFile

_NOISE = 0.25
"""Spread of what is new in the residual stream, as a share of the spread of what is there."""
_WRITERS = ("self_attn.o_proj", "mlp.down_proj")
"""The matrices that write to the residual stream; all others read from it."""
_GROWING = ("dim", "n_layers", "n_heads", "n_kv_heads", "hidden_dim", "context")


def grown(small: ModelFile, config: ModelConfig, seed: int = 0, noise: float = _NOISE) -> ModelFile:
    """`small` in the shape `config`, as a model file whose weights are in memory.

    Raises ConfigError for a shape that is smaller in any way, or differs in more than its sizes.
    """
    validate(config)
    before = small.config
    for name in _GROWING:
        if getattr(config, name) < getattr(before, name):
            found, least = getattr(config, name), getattr(before, name)
            raise ConfigError(f"{name} is {found}, expected {least} or more: a model only grows")
    sizes = {name: getattr(config, name) for name in _GROWING}
    if config != replace(before, **sizes, head_size=before.head_dim) or (
        config.n_heads * before.n_kv_heads != config.n_kv_heads * before.n_heads
    ):
        raise ConfigError(
            "a model can grow in width, layers, heads in their groups, hidden width and context; "
            "all else stays as it is"
        )
    random = np.random.default_rng(seed)
    wide = {
        name: _widened(name, small.weight(name), shape, random, noise)
        for name, shape in names.shapes(replace(config, n_layers=before.n_layers)).items()
    }
    weights = {name: weight for name, weight in wide.items() if ".layers." not in name}
    last = -1
    for layer in range(config.n_layers):
        source = layer * before.n_layers // config.n_layers
        for weight in names.LAYER_WEIGHTS:
            array = wide[names.layer_name(source, weight)]
            is_silent = source == last and weight in _WRITERS
            weights[names.layer_name(layer, weight)] = array * 0 if is_silent else array
        last = source
    return replace(small, config=config, read=weights.__getitem__)


def _widened(
    name: str, weight: np.ndarray, shape: names.Shape, random: np.random.Generator, noise: float
) -> np.ndarray:
    """A weight in a wider shape, such that nothing that is new is both written and read, but by a
    tied embedding."""
    if weight.ndim == 1:
        new = np.full(shape, weight.mean(), np.float32)
        new[: len(weight)] = weight
        return new * np.float32(np.sqrt(len(weight) / len(new)))
    rows, columns = weight.shape
    new = random.normal(0, weight.std(), shape).astype(np.float32)
    new[:rows, :columns] = weight
    if name in (names.EMBEDDING, names.OUTPUT):
        new[:, columns:] *= noise if name == names.EMBEDDING else 0
        return new
    new[:rows, columns:] = 0
    if any(writer in name for writer in _WRITERS):
        new[rows:] *= noise
    return new
