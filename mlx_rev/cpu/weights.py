"""A model's weights as NumPy multiplies by them fastest.

Shapes: D = dim, H query heads, K key/value heads, E = head size, F = hidden_dim, V = vocabulary.
"""

import mlx.core as mx
import numpy as np

from mlx_rev.model.llama import Block, Llama, Weights, get_weights

_MOST_COPIED = 1 << 26
"""Parameters of a model whose weights are copied, 256 MB. Of a larger one the matrix products take
so long that what the rest costs does not matter, and memory does."""

Matrix = tuple[np.ndarray, ...]
"""Of a linear map, what rows are multiplied by, (inputs, outputs): one array or several, whose
outputs stand side by side."""


class NumpyLayer:
    """The weights of a block."""

    def __init__(self, block: Block, *, copied: bool) -> None:
        attention, mlp = block.self_attn, block.mlp
        projections = attention.q_proj, attention.k_proj, attention.v_proj
        self.norm = _array(block.input_layernorm.weight)
        self.qkv = _matrix([own.weight for own in projections], copied=copied)
        """To (H + 2K) · E."""
        self.o = _matrix([attention.o_proj.weight], copied=copied)
        self.second_norm = _array(block.post_attention_layernorm.weight)
        self.gate_up = _matrix([mlp.gate_proj.weight, mlp.up_proj.weight], copied=copied)
        """To 2F."""
        self.down = _matrix([mlp.down_proj.weight], copied=copied)


class NumpyWeights:
    """The weights of a model: those that it had when this was made."""

    def __init__(self, model: Llama) -> None:
        own = get_weights(model)
        self._made_from = own
        copied = sum(weight.size for weight in own.values()) <= _MOST_COPIED
        decoder = model.model
        self.embedding = _array(decoder.embed_tokens.weight)
        self.layers = [NumpyLayer(block, copied=copied) for block in decoder.layers]
        self.norm = _array(decoder.norm.weight)
        self.projection = _matrix([model.output_weight], copied=copied)

    def are_of(self, weights: Weights) -> bool:
        """Whether they were made from these very arrays."""
        return all(self._made_from[name] is weight for name, weight in weights.items())


def weights_of(model: Llama) -> NumpyWeights:
    """The weights that a model has now. They are kept with it, and made anew once it has others."""
    kept: NumpyWeights | None = model.__dict__.get("_in_numpy")
    if kept is None or not kept.are_of(get_weights(model)):
        kept = NumpyWeights(model)
        object.__setattr__(model, "_in_numpy", kept)
    return kept


def product(x: np.ndarray, matrix: Matrix) -> np.ndarray:
    """x (N, inputs) times a matrix: (N, outputs)."""
    if len(matrix) == 1:
        whole: np.ndarray = x @ matrix[0]
        return whole
    return np.concatenate([x @ part for part in matrix], axis=-1)


def normalised(x: np.ndarray, weight: np.ndarray, eps: float) -> np.ndarray:
    """RMSNorm of x (N, D)."""
    scale = np.einsum("nd,nd->n", x, x) / np.float32(x.shape[-1]) + np.float32(eps)
    rows: np.ndarray = x * (1 / np.sqrt(scale))[:, None]
    rows *= weight
    return rows


def fed_forward(x: np.ndarray, layer: NumpyLayer) -> np.ndarray:
    """What SwiGLU adds to x (N, D)."""
    both = product(x, layer.gate_up)
    gate, up = np.split(both, 2, axis=-1)
    with np.errstate(over="ignore"):  # e^x may be infinite in x / (1 + e^-x), which is right
        below = np.negative(gate)
        np.exp(below, out=below)
    below += 1
    np.divide(gate, below, out=below)
    below *= up
    return product(below, layer.down)


def rotated(x: np.ndarray, cos: np.ndarray, sin: np.ndarray) -> np.ndarray:
    """RoPE of x (..., E) in the half-split layout, by cos and sin (..., E/2)."""
    half = x.shape[-1] // 2
    first, second = x[..., :half], x[..., half:]
    turned = np.empty(x.shape, x.dtype)
    np.subtract(first * cos, second * sin, out=turned[..., :half])
    np.add(second * cos, first * sin, out=turned[..., half:])
    return turned


def _matrix(weights: list[mx.array], *, copied: bool) -> Matrix:
    """Of weights (outputs, inputs); as one array in the order in which it is read, if it may be a
    copy."""
    views = tuple(_array(weight).T for weight in weights)
    return (np.ascontiguousarray(np.concatenate(views, axis=-1)),) if copied else views


def _array(weight: mx.array) -> np.ndarray:
    """A view of an array; a copy of one that is not float32, as NumPy has no bfloat16."""
    return np.asarray(weight if weight.dtype == mx.float32 else weight.astype(mx.float32))
