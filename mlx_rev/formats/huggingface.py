"""The folder that mlx-lm and transformers load; a checkpoint of ours is one.

config.json holds the shape under transformers' LlamaConfig names, and under "mlx_rev" what that
has no room for: the reversal, and fingerprints of tokenizer and corpus.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlx.core as mx

from mlx_rev.config import ModelConfig, validate
from mlx_rev.errors import FormatError
from mlx_rev.formats.tokenizer_json import tokenizer_config, tokenizer_json
from mlx_rev.text.codec import StoryCodec
from mlx_rev.text.reversal import Reversal
from mlx_rev.text.tokenizer import BOUNDARY, Tokenizer

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
TOKENIZER_FILE = "tokenizer.model"


@dataclass(frozen=True)
class ModelFolder:
    """What such a folder holds."""

    config: ModelConfig
    weights: dict[str, mx.array]
    codec: StoryCodec


def write_folder(folder: Path, content: ModelFolder, *, corpus_fingerprint: str = "") -> None:
    """Write the folder's files one after another; the caller makes the whole atomic."""
    tokenizer = content.codec.tokenizer
    mx.save_safetensors(str(folder / WEIGHTS_FILE), content.weights, metadata={"format": "mlx"})
    extra = {
        "reversal": str(content.codec.reversal),
        "tokenizer_sha256": tokenizer.fingerprint,
        "corpus_sha256": corpus_fingerprint,
    }
    _write_json(folder / CONFIG_FILE, {**_config_json(content.config), "mlx_rev": extra})
    _write_json(folder / "generation_config.json", {"bos_token_id": 1, "eos_token_id": BOUNDARY})
    _write_json(folder / "tokenizer.json", tokenizer_json(tokenizer))
    _write_json(folder / "tokenizer_config.json", tokenizer_config(tokenizer))
    (folder / TOKENIZER_FILE).write_bytes(tokenizer.model)


def read_folder(folder: Path) -> ModelFolder:
    """Read a folder that `write_folder` wrote.

    Raises FormatError for a file that is missing or damaged, a wrong shape, or a tokenizer that
    is not the one the model was trained with.
    """
    described = _read_json(folder / CONFIG_FILE)
    config = _model_config(described, folder / CONFIG_FILE)
    validate(config)
    tokenizer = Tokenizer.load(folder / TOKENIZER_FILE)
    extra = described.get("mlx_rev", {})
    expected = extra.get("tokenizer_sha256", tokenizer.fingerprint)
    if tokenizer.fingerprint != expected:
        raise FormatError(
            f"{folder / TOKENIZER_FILE}: its sha256 is {tokenizer.fingerprint[:12]}…, the model "
            f"was trained with {expected[:12]}…; put the right tokenizer.model there"
        )
    path = folder / WEIGHTS_FILE
    try:
        weights = mx.load(str(path))
    except (RuntimeError, ValueError) as error:
        raise FormatError(f"{path}: missing or damaged, expected a safetensors file") from error
    if not isinstance(weights, dict):
        raise FormatError(f"{path}: holds no named arrays")
    try:
        reversal = Reversal(extra.get("reversal", "none"))
    except ValueError as error:
        raise FormatError(
            f"{folder / CONFIG_FILE}: reversal is {extra['reversal']!r}, "
            "expected word, token or none"
        ) from error
    return ModelFolder(config, weights, StoryCodec(tokenizer, reversal))


def _config_json(config: ModelConfig) -> dict[str, Any]:
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
        "torch_dtype": "float32",
    }


def _model_config(described: dict[str, Any], path: Path) -> ModelConfig:
    try:
        return ModelConfig(
            dim=int(described["hidden_size"]),
            hidden_dim=int(described["intermediate_size"]),
            n_layers=int(described["num_hidden_layers"]),
            n_heads=int(described["num_attention_heads"]),
            n_kv_heads=int(described["num_key_value_heads"]),
            vocab_size=int(described["vocab_size"]),
            context=int(described["max_position_embeddings"]),
            norm_eps=float(described["rms_norm_eps"]),
            rope_theta=float(described["rope_theta"]),
            tied=bool(described["tie_word_embeddings"]),
        )
    except KeyError as error:
        raise FormatError(f"{path}: has no {error.args[0]!r}; expected a Llama's config") from error
    except (TypeError, ValueError) as error:
        raise FormatError(f"{path}: a size in it is not a number ({error})") from error


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise FormatError(f"{path}: not JSON ({error})") from error
    if not isinstance(content, dict):
        raise FormatError(f"{path}: expected a JSON object")
    return content
