"""How stories are best told with a model, kept beside its weights.

The names are those of transformers' generation_config.json, which are SampleConfig's too; GGUF has
its own, read by llama.cpp.
"""

from collections.abc import Mapping
from typing import Any

from mlx_rev.config import SampleConfig
from mlx_rev.fields import Fields

_NUMBERS = ("temperature", "top_p", "min_p", "repetition_penalty")
_COUNTS = ("top_k",)
GGUF_NAMES = {
    "temperature": "general.sampling.temp",
    "top_k": "general.sampling.top_k",
    "top_p": "general.sampling.top_p",
    "min_p": "general.sampling.min_p",
    "repetition_penalty": "general.sampling.penalty_repeat",
}
"""From https://github.com/ggml-org/llama.cpp, gguf-py/gguf/constants.py."""

Settings = Mapping[str, float]
"""SampleConfig's fields by name: those that a model has an opinion on."""


def settings_in(described: Fields, names: Mapping[str, str] | None = None) -> dict[str, float]:
    """What a file says, its fields called as in `names`. One that says not to sample says nothing.

    Raises FormatError for values that are impossible.
    """
    if described.has("do_sample") and not described.flag("do_sample"):
        return {}
    called = names or {name: name for name in (*_NUMBERS, *_COUNTS)}
    found: dict[str, Any] = {}
    for name, own in called.items():
        if described.has(own):
            found[name] = described.integer(own) if name in _COUNTS else described.number(own)
            if problems := SampleConfig(**{name: found[name]}).problems():
                raise described.error(own, problems[0].partition("expected ")[2])
    return found


def generation_config(settings: Settings) -> dict[str, float | bool]:
    """What generation_config.json says of them."""
    return {"do_sample": True, **settings} if settings else {}
