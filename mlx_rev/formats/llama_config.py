"""A Llama's config.json: transformers' LlamaConfig names, both ways."""

from typing import Any

from mlx_rev.config import ModelConfig
from mlx_rev.errors import FormatError
from mlx_rev.formats.fields import Fields
from mlx_rev.formats.model_file import checked_config
from mlx_rev.text.tokenizer import BOUNDARY

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
        "rope_parameters": {"rope_type": "default", "rope_theta": config.rope_theta},
        "tie_word_embeddings": config.tied,
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "bos_token_id": BOUNDARY,
        "eos_token_id": BOUNDARY,
        "torch_dtype": dtype,
    }


def model_config(described: Fields) -> ModelConfig:
    """The shape that a config.json describes.

    Raises FormatError, naming what is not supported: another architecture, scaled RoPE, biases,
    another activation, a head size that is not dim / heads.
    """
    if (kind := described.text("model_type", "")) != "llama":
        raise FormatError(f"{described.source}: model_type is {kind!r}; only 'llama' is supported")
    _check_kind(described)
    heads = described.integer("num_attention_heads")
    config = ModelConfig(
        dim=described.integer("hidden_size"),
        hidden_dim=described.integer("intermediate_size"),
        n_layers=described.integer("num_hidden_layers"),
        n_heads=heads,
        n_kv_heads=described.integer("num_key_value_heads", heads),
        vocab_size=described.integer("vocab_size"),
        context=described.integer("max_position_embeddings", 2048),
        norm_eps=described.number("rms_norm_eps", 1e-6),
        rope_theta=_theta(described),
        tied=described.flag("tie_word_embeddings", False),
    )
    checked_config(described.source, config)
    if described.integer("head_dim", config.head_dim) != config.head_dim:
        expected = f"hidden_size / num_attention_heads, {config.head_dim}"
        raise described.error("head_dim", expected)
    return config


def _check_kind(described: Fields) -> None:
    for name in ("attention_bias", "mlp_bias", "rope_traditional"):
        if described.flag(name, False):
            raise described.error(name, "false")
    if described.text("hidden_act", "silu") != "silu":
        raise described.error("hidden_act", "'silu'")
    for place in _ROPE:
        rope = described.object(place)
        for name in ("rope_type", "type"):
            if rope.text(name, "default") != "default":
                raise rope.error(name, "'default'")


def _theta(described: Fields) -> float:
    """RoPE's base, from whichever place has it."""
    places = [described, *(described.object(place) for place in _ROPE)]
    found = {place.number("rope_theta") for place in places if place.has("rope_theta")}
    if len(found) > 1:
        both = " and ".join(f"{theta:g}" for theta in sorted(found))
        raise FormatError(f"{described.source}: rope_theta is {both}; expected one value")
    return found.pop() if found else 10000.0
