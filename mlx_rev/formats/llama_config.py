"""A Llama's config.json: transformers' LlamaConfig names, both ways."""

from collections.abc import Mapping
from typing import Any

from mlx_rev.config import ModelConfig
from mlx_rev.errors import FormatError
from mlx_rev.formats.lazy import checked_config
from mlx_rev.text.tokenizer import BOUNDARY


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


def model_config(described: Mapping[str, Any], source: str) -> ModelConfig:
    """The shape that a config.json describes.

    Raises FormatError naming what a Llama here cannot be: another architecture, scaled RoPE,
    biases, another activation, a head size that is not dim / heads.
    """
    if (kind := described.get("model_type")) != "llama":
        raise FormatError(f"{source}: model_type is {kind!r}; only 'llama' can be read")
    rope = described.get("rope_parameters") or described.get("rope_scaling") or {}
    expected: dict[str, tuple[Any, Any]] = {
        "hidden_act": (described.get("hidden_act", "silu"), "silu"),
        "attention_bias": (bool(described.get("attention_bias")), False),
        "mlp_bias": (bool(described.get("mlp_bias")), False),
        "rope_type": (rope.get("rope_type", rope.get("type", "default")), "default"),
    }
    for name, (found, wanted) in expected.items():
        if found != wanted:
            raise FormatError(f"{source}: {name} is {found!r}, expected {wanted!r}")
    try:
        heads = int(described["num_attention_heads"])
        theta = described.get("rope_theta") or rope.get("rope_theta") or 10000.0
        config = ModelConfig(
            dim=int(described["hidden_size"]),
            hidden_dim=int(described["intermediate_size"]),
            n_layers=int(described["num_hidden_layers"]),
            n_heads=heads,
            n_kv_heads=int(described.get("num_key_value_heads") or heads),
            vocab_size=int(described["vocab_size"]),
            context=int(described.get("max_position_embeddings", 2048)),
            norm_eps=float(described.get("rms_norm_eps", 1e-6)),
            rope_theta=float(theta),
            tied=bool(described.get("tie_word_embeddings", False)),
        )
        head_size = described.get("head_dim")
        checked_config(source, config)
        if head_size is not None and int(head_size) != config.head_dim:
            raise FormatError(
                f"{source}: head_dim is {head_size}, expected hidden_size / num_attention_heads, "
                f"{config.head_dim}"
            )
    except KeyError as error:
        raise FormatError(f"{source}: has no {error.args[0]!r}, which a Llama needs") from error
    except (TypeError, ValueError) as error:
        raise FormatError(f"{source}: a size in it is not a number ({error})") from error
    return config
