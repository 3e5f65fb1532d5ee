"""The weights of a Llama: names and shapes, and the order of rows in q and k, for every format.

In memory the names are those of mlx-lm and transformers, and RoPE rotates pairs from the two halves
of a head ("half-split"). llama2.c and GGUF rotate neighbours ("interleaved"), so there the rows of
q and k have another order; `interleaved` and `half_split` are all that changes it.
"""

import numpy as np

from mlx_rev.config import ModelConfig

EMBEDDING = "model.embed_tokens.weight"
FINAL_NORM = "model.norm.weight"
OUTPUT = "lm_head.weight"
LAYER_WEIGHTS = (
    "input_layernorm",
    "self_attn.q_proj",
    "self_attn.k_proj",
    "self_attn.v_proj",
    "self_attn.o_proj",
    "post_attention_layernorm",
    "mlp.gate_proj",
    "mlp.up_proj",
    "mlp.down_proj",
)

Shape = tuple[int, ...]


def layer_name(layer: int, weight: str) -> str:
    """The full name of a layer's weight, one of LAYER_WEIGHTS."""
    return f"model.layers.{layer}.{weight}.weight"


def layer_shape(config: ModelConfig, weight: str) -> Shape:
    """The shape of a layer's weight, one of LAYER_WEIGHTS."""
    queries, keys = config.n_heads * config.head_dim, config.n_kv_heads * config.head_dim
    return {
        "input_layernorm": (config.dim,),
        "self_attn.q_proj": (queries, config.dim),
        "self_attn.k_proj": (keys, config.dim),
        "self_attn.v_proj": (keys, config.dim),
        "self_attn.o_proj": (config.dim, queries),
        "post_attention_layernorm": (config.dim,),
        "mlp.gate_proj": (config.hidden_dim, config.dim),
        "mlp.up_proj": (config.hidden_dim, config.dim),
        "mlp.down_proj": (config.dim, config.hidden_dim),
    }[weight]


def shapes(config: ModelConfig) -> dict[str, Shape]:
    """Every weight's name and shape, in the order of the forward pass."""
    found: dict[str, Shape] = {EMBEDDING: (config.vocab_size, config.dim)}
    for layer in range(config.n_layers):
        for weight in LAYER_WEIGHTS:
            found[layer_name(layer, weight)] = layer_shape(config, weight)
    found[FINAL_NORM] = (config.dim,)
    if not config.tied:
        found[OUTPUT] = (config.vocab_size, config.dim)
    return found


def rotated_heads(config: ModelConfig, name: str) -> int:
    """How many heads of this weight RoPE rotates: those of q or of k, otherwise 0."""
    if ".q_proj." in name:
        return config.n_heads
    return config.n_kv_heads if ".k_proj." in name else 0


def interleaved(weight: np.ndarray, heads: int) -> np.ndarray:
    """Rows of q or k (heads · E, dim) from half-split to interleaved; 0 heads leaves them."""
    return _swapped(weight, heads, 2, -1)


def half_split(weight: np.ndarray, heads: int) -> np.ndarray:
    """Rows of q or k (heads · E, dim) from interleaved to half-split; 0 heads leaves them."""
    return _swapped(weight, heads, -1, 2)


def _swapped(weight: np.ndarray, heads: int, outer: int, inner: int) -> np.ndarray:
    if not heads:
        return weight
    rows, columns = weight.shape
    pairs = rows // heads // 2
    sizes = [pairs if size == -1 else size for size in (outer, inner)]
    swapped = weight.reshape(heads, *sizes, columns).swapaxes(1, 2)
    return np.ascontiguousarray(swapped.reshape(rows, columns))
