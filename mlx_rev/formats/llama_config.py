"""A Llama's config.json: transformers' LlamaConfig names, both ways."""

from typing import Any

from mlx_rev.config import ModelConfig
from mlx_rev.errors import FormatError
from mlx_rev.fields import Fields
from mlx_rev.formats.model_file import checked_config

_ROPE = ("rope_parameters", "rope_scaling")
"""Where transformers keeps the settings of RoPE, in new folders and in old ones."""


def config_json(config: ModelConfig, dtype: str) -> dict[str, Any]:
    """The content of config.json."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": config.dim,
        "intermediate_size": config.hidden_dim,
        "num_hidden_layers": config.n_layers,
        "num_attention_heads": config.n_heads,
        "num_key_value_heads": config.n_kv_heads,
        "head_dim": config.head_dim,
        "vocab_size": config.vocab_size,
        "max_position_embeddings": config.context,
        "rms_norm_eps": config.norm_eps,
        "rope_theta": config.rope_theta,
        **_rope(config),
        "tie_word_embeddings": config.tied,
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "torch_dtype": dtype,
    }


def _rope(config: ModelConfig) -> dict[str, Any]:
    """The settings of RoPE, where transformers looks for them and, if scaled, mlx-lm."""
    if config.rope_factor == 1:
        return {"rope_parameters": {"rope_type": "default", "rope_theta": config.rope_theta}}
    scaling = {
        "rope_type": "llama3",
        "factor": config.rope_factor,
        "low_freq_factor": config.rope_low_frequency,
        "high_freq_factor": config.rope_high_frequency,
        "original_max_position_embeddings": config.rope_original_context,
    }
    return {
        "rope_parameters": {**scaling, "rope_theta": config.rope_theta},
        "rope_scaling": scaling,
    }


def model_config(described: Fields) -> ModelConfig:
    """The shape that a config.json describes.

    Raises FormatError, naming what is not supported: another architecture, RoPE scaled in another
    way than Llama 3's, biases, another activation.
    """
    if (kind := described.text("model_type", "")) != "llama":
        raise FormatError(
            f"{described.source}: model_type is {kind!r}, which is not a Llama; only 'llama' is "
            "supported"
        )
    _check_kind(described)
    heads, dim = described.integer("num_attention_heads"), described.integer("hidden_size")
    config = ModelConfig(
        dim=dim,
        hidden_dim=described.integer("intermediate_size"),
        n_layers=described.integer("num_hidden_layers"),
        n_heads=heads,
        n_kv_heads=described.integer("num_key_value_heads", heads),
        vocab_size=described.integer("vocab_size"),
        context=described.integer("max_position_embeddings", 2048),
        norm_eps=described.number("rms_norm_eps", 1e-6),
        head_size=_head_size(described, dim, heads),
        rope_theta=_theta(described),
        **_scaling(described),
        tied=described.flag("tie_word_embeddings", False),
    )
    return checked_config(described.source, config)


def _head_size(described: Fields, dim: int, heads: int) -> int:
    """The size of a head, if it is another than dim / heads, otherwise 0."""
    if not described.has("head_dim"):
        return 0
    size = described.integer("head_dim")
    if size <= 0:
        raise described.error("head_dim", "a whole number above 0")
    return 0 if heads > 0 and size * heads == dim else size


def _scaling(described: Fields) -> dict[str, Any]:
    """The settings of Llama 3's RoPE scaling, none where it is not scaled."""
    found = [scaled for place in _ROPE if (scaled := _scaled(described.object(place)))]
    if any(other != found[0] for other in found):
        raise FormatError(f"{described.source}: {_ROPE[0]} and {_ROPE[1]} do not agree")
    return found[0] if found else {}


def _scaled(rope: Fields) -> dict[str, Any]:
    kinds = {rope.text(name, "default") for name in ("rope_type", "type")} - {"default"}
    if not kinds:
        return {}
    if kinds != {"llama3"}:
        raise rope.error("rope_type" if rope.has("rope_type") else "type", "'default' or 'llama3'")
    return {
        "rope_factor": rope.number("factor"),
        "rope_low_frequency": rope.number("low_freq_factor", 1.0),
        "rope_high_frequency": rope.number("high_freq_factor", 4.0),
        "rope_original_context": rope.integer("original_max_position_embeddings", 8192),
    }


def _check_kind(described: Fields) -> None:
    for name in ("attention_bias", "mlp_bias", "rope_traditional"):
        if described.flag(name, False):
            raise described.error(name, "false")
    if described.text("hidden_act", "silu") != "silu":
        raise described.error("hidden_act", "'silu'")


def _theta(described: Fields) -> float:
    """RoPE's base, from whichever place has it."""
    places = [described, *(described.object(place) for place in _ROPE)]
    found = {place.number("rope_theta") for place in places if place.has("rope_theta")}
    if len(found) > 1:
        both = " and ".join(f"{theta:g}" for theta in sorted(found))
        raise FormatError(f"{described.source}: rope_theta is {both}; expected one value")
    return found.pop() if found else 10000.0
