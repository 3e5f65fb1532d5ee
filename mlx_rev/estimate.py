"""The least memory that training and telling need, against what the machine has.

The figures are lower bounds: what passes may still be too much, but what is refused could never
have run. Nothing is allocated to find out.
"""

import os
from typing import TYPE_CHECKING

from mlx_rev.errors import ConfigError

if TYPE_CHECKING:
    from mlx_rev.config import ModelConfig, TrainConfig

_COPIES = 3
"""Weights, their gradients and the gradients' mean; AdamW has their mean square, too."""
_BATCH_ARRAYS = 3
"""Inputs, targets and where stories begin, each int32."""
_FLOAT32 = 4


def machine_memory() -> int:
    """Bytes of physical memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def parameters(model: "ModelConfig") -> int:
    """How many parameters a model has."""
    norms = (2 * model.n_layers + 1) * model.dim
    embeddings = (1 if model.tied else 2) * model.vocab_size * model.dim
    return embeddings + _in_matrices_of_blocks(model) + norms


def _in_matrices_of_blocks(model: "ModelConfig") -> int:
    key_dim = model.n_kv_heads * model.head_dim
    query_dim = model.n_heads * model.head_dim
    attention = 2 * model.dim * (query_dim + key_dim)
    return model.n_layers * (attention + 3 * model.dim * model.hidden_dim)


def training_flops(model: "ModelConfig") -> float:
    """Floating-point operations of training on a token: 6 for each parameter but those of the input
    embedding, and what attention needs over the whole context (PaLM, arXiv 2204.02311, appendix B,
    which does not halve that for causality either)."""
    embedding = 0 if model.tied else model.vocab_size * model.dim
    attention = 12 * model.n_layers * model.n_heads * model.head_dim * model.context
    return 6 * (parameters(model) - embedding) + attention


def training_bytes(model: "ModelConfig", train: "TrainConfig", nodes: int = 1) -> int:
    """Least memory of a training step on one of `nodes` machines: weights, gradients and moments,
    what the backward pass needs of its rows of a micro-batch (each block's input and its two
    feed-forward products), the batch, which each machine has whole."""
    from mlx_rev.config import Dtype  # which imports this module

    width = 2 if train.dtype == Dtype.BFLOAT16 else _FLOAT32
    rows = train.batch_size // nodes  # the least that one of them gets
    kept = rows * model.context * model.n_layers * (model.dim + 2 * model.hidden_dim) * width
    batch = train.batch_size * train.accumulation * model.context * _BATCH_ARRAYS * 4
    squares = parameters(model)
    if train.optimizer == "muon":
        squares -= _in_matrices_of_blocks(model)
    return (parameters(model) * _COPIES + squares) * _FLOAT32 + kept + batch


def telling_bytes(model: "ModelConfig", stories: int) -> int:
    """Least memory of writing so many stories together: the weights, and each story's keys and
    values over the whole context."""
    cache = 2 * model.n_layers * model.n_kv_heads * model.head_dim * model.context
    return (parameters(model) + stories * cache) * _FLOAT32


def check_training_fits(model: "ModelConfig", train: "TrainConfig", nodes: int = 1) -> None:
    """Raise ConfigError where this machine, one of `nodes`, has too little memory to train."""
    needed = training_bytes(model, train, nodes)
    if needed > (memory := machine_memory()):
        raise ConfigError(
            f"dim {model.dim}, {model.n_layers} layers, hidden_dim {model.hidden_dim}, vocab_size "
            f"{model.vocab_size}, context {model.context}, batch_size {train.batch_size} and "
            f"accumulation {train.accumulation} need at least {_size(needed)} of memory, this "
            f"machine has {_size(memory)}; make the largest of these smaller"
        )


def check_telling_fits(model: "ModelConfig", stories: int, option: str = "--count") -> None:
    """Raise ConfigError where stories told together, as many as an option says, need more than the
    machine's memory."""
    needed = telling_bytes(model, stories)
    if needed > (memory := machine_memory()):
        raise ConfigError(
            f"{stories} stories at once need at least {_size(needed)} of memory, this machine has "
            f"{_size(memory)}; give a smaller {option}"
        )


def _size(size: int) -> str:
    for power, unit in enumerate(("B", "kB", "MB", "GB", "TB")):
        if size < 999.5 * 1000**power:  # from there on, three digits show 1e+03
            return f"{size / 1000**power:.3g} {unit}"
    return f"{(size + 5 * 10**14) // 10**15:,} PB"
