"""Every option of the project, as frozen dataclasses; presets, TOML and validation.

The docstring below a field is its help text on the command line.
"""

import dataclasses
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints

import tomli_w

from mlx_rev.errors import ConfigError

ReversalMode = Literal["word", "token", "none"]
TrainingDtype = Literal["float32", "bfloat16"]


def llama_hidden_dim(dim: int, multiple_of: int = 32) -> int:
    """The SwiGLU width of llama2.c: two thirds of 4·dim, rounded up to a multiple."""
    return multiple_of * math.ceil(int(8 * dim / 3) / multiple_of)


MOST_LAYERS = 1000
"""Far more than any Llama has; a file that says more is damaged."""


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The shape of a Llama."""

    dim: int = 128
    """Width of the residual stream."""
    n_layers: int = 2
    """Transformer blocks."""
    n_heads: int = 4
    """Query heads."""
    n_kv_heads: int = 4
    """Key and value heads; each serves n_heads / n_kv_heads query heads."""
    hidden_dim: int = 352
    """Width inside the SwiGLU feed-forward."""
    vocab_size: int = 2048
    """Tokenizer pieces, and rows of the embedding."""
    context: int = 256
    """Longest sequence in tokens."""
    norm_eps: float = 1e-5
    """Added to the mean square in RMSNorm."""
    rope_theta: float = 10000.0
    """Base of the rotary position frequencies."""
    tied: bool = True
    """Whether the output projection is the embedding."""
    dropout: float = 0.0
    """Dropout on the embedding and on each block's two residual branches."""

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.dim // self.n_heads

    def problems(self) -> list[str]:
        """What makes this shape impossible, in words."""
        found = _not_positive(
            self, "dim", "n_layers", "n_heads", "n_kv_heads", "hidden_dim", "context"
        )
        if found:
            return found
        if self.n_layers > MOST_LAYERS:
            found.append(f"n_layers is {self.n_layers}, expected at most {MOST_LAYERS}")
        if self.dim % self.n_heads:
            found.append(f"n_heads {self.n_heads} does not divide dim {self.dim}")
        elif self.head_dim % 2:
            found.append(f"head size {self.head_dim} is odd; RoPE turns pairs")
        if self.n_heads % self.n_kv_heads:
            found.append(f"n_kv_heads {self.n_kv_heads} does not divide n_heads {self.n_heads}")
        if self.vocab_size < 260:
            found.append(f"vocab_size is {self.vocab_size}; 256 bytes and 3 marks need over 259")
        if not 0 <= self.dropout < 1:
            found.append(f"dropout is {self.dropout}, expected 0 or more and under 1")
        if self.norm_eps <= 0 or self.rope_theta <= 0:
            found.append("norm_eps and rope_theta must be positive")
        return found


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Where the stories come from and in which order the model reads them."""

    data: str = "bundled"
    """bundled, tinystories, or a path to .txt, .json or .jsonl."""
    valid: str | None = None
    """Path of held-out stories; by default a share of the data is held out."""
    valid_share: float = 0.02
    """Share of stories held out when no --valid is given."""
    reversal: ReversalMode = "word"
    """word: the article's; token: token ids reversed; none: forward."""
    tokenizer: str | None = None
    """A SentencePiece .model to use; by default one is trained on the data."""

    def problems(self) -> list[str]:
        """What makes these options impossible, in words."""
        if not 0 < self.valid_share < 1:
            return [f"valid_share is {self.valid_share}, expected between 0 and 1"]
        return []


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How the model is trained."""

    steps: int = 2000
    """Optimiser steps."""
    batch_size: int = 16
    """Rows of one micro-batch, over all ranks."""
    accumulation: int = 1
    """Micro-batches in an optimiser step."""
    learning_rate: float = 3e-3
    """Peak learning rate."""
    min_learning_rate: float = 3e-4
    """Learning rate at the last step."""
    initial_deviation: float = 0.02
    """Standard deviation of the weights at the start; llama2.c's by default."""
    embedding_deviation: float = 0.02
    """Standard deviation of the embedding at the start."""
    warmup: int = 100
    """Steps of linear warm-up."""
    weight_decay: float = 0.1
    """Decoupled decay, on matrices only."""
    beta1: float = 0.9
    """AdamW's decay of the mean."""
    beta2: float = 0.95
    """AdamW's decay of the mean square."""
    gradient_clip: float = 1.0
    """Largest global gradient norm; 0 turns clipping off."""
    ranks: int = 0
    """Threads that share the rows of a batch; 0 takes what is fastest here."""
    dtype: TrainingDtype = "float32"
    """Type of the forward and backward pass; bfloat16 keeps float32 master weights (GPU only)."""
    seed: int = 1337
    """Seeds weights, batch order, dropout and samples."""
    log_every: int = 20
    """Steps between log lines."""
    eval_every: int = 250
    """Steps between evaluations."""
    eval_stories: int = 200
    """Held-out stories in an evaluation; 0 takes all."""
    save_every: int = 250
    """Steps between checkpoints."""
    keep: int = 2
    """Newest checkpoints kept, besides the best."""
    sample_every: int = 250
    """Steps between sample stories."""
    ending: str = "They all lived happily ever after."
    """Ending of the sample stories."""
    compile: bool = True
    """Compile the training step."""

    def problems(self) -> list[str]:
        """What makes these options impossible, in words."""
        found = _not_positive(
            self,
            *("steps", "batch_size", "accumulation", "learning_rate"),
            *("initial_deviation", "embedding_deviation", "log_every"),
            *("eval_every", "save_every", "keep", "sample_every"),
        )
        for name in ("warmup", "weight_decay", "gradient_clip", "eval_stories", "seed", "ranks"):
            if getattr(self, name) < 0:
                found.append(f"{name} is {getattr(self, name)}, expected 0 or more")
        if self.ranks > self.batch_size > 0:
            found.append(f"ranks is {self.ranks}, more than the {self.batch_size} rows of a batch")
        if not 0 <= self.min_learning_rate <= self.learning_rate:
            found.append(
                f"min_learning_rate is {self.min_learning_rate}, expected 0 to "
                f"learning_rate {self.learning_rate}"
            )
        for name in ("beta1", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                found.append(f"{name} is {getattr(self, name)}, expected 0 or more and under 1")
        return found


@dataclass(frozen=True, kw_only=True)
class SampleConfig:
    """How the next token is chosen."""

    temperature: float = 0.8
    """0 takes the likeliest token."""
    top_k: int = 0
    """Keep the k likeliest tokens; 0 keeps all."""
    top_p: float = 0.95
    """Keep the likeliest tokens that together reach this probability; 1 keeps all."""
    min_p: float = 0.0
    """Keep tokens at least this share as likely as the likeliest."""
    repetition_penalty: float = 1.0
    """Divide the odds of tokens of the last 64; 1 is none."""
    max_tokens: int = 0
    """Most tokens to write; 0 goes on to the end of the context."""
    seed: int = 0
    """Same seed, same story."""

    def problems(self) -> list[str]:
        """What makes these options impossible, in words."""
        found = [
            f"{name} is {getattr(self, name)}, expected 0 or more"
            for name in ("temperature", "top_k", "max_tokens", "seed")
            if not getattr(self, name) >= 0
        ]
        if not 0 < self.top_p <= 1:
            found.append(f"top_p is {self.top_p}, expected over 0 and at most 1")
        if not 0 <= self.min_p <= 1:
            found.append(f"min_p is {self.min_p}, expected 0 to 1")
        if not self.repetition_penalty > 0:
            found.append(f"repetition_penalty is {self.repetition_penalty}, expected over 0")
        return found


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """A training run: the model, its data and how it is trained."""

    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    train: TrainConfig = field(default_factory=TrainConfig)


def _preset(model: ModelConfig, **train: Any) -> RunConfig:
    return RunConfig(model=model, train=TrainConfig(**train))


def presets() -> dict[str, RunConfig]:
    """The named sizes: llama2.c's four, and `quick` for the bundled stories."""
    return {
        "quick": _preset(
            ModelConfig(n_heads=8, n_kv_heads=8, tied=False),
            steps=6400,
            batch_size=4,
            learning_rate=2e-3,
            min_learning_rate=1e-4,
            initial_deviation=0.06,
            embedding_deviation=0.3,
            beta2=0.98,
            log_every=50,
            eval_every=800,
            save_every=800,
            sample_every=800,
        ),
        "260k": _preset(
            ModelConfig(
                dim=64,
                n_layers=5,
                n_heads=8,
                n_kv_heads=4,
                hidden_dim=172,
                vocab_size=512,
                context=512,
            ),
            steps=10_000,
            learning_rate=4e-3,
            min_learning_rate=0.0,
        ),
        "15m": _preset(
            _square(dim=288, n_layers=6, n_heads=6, vocab_size=32000, context=256),
            steps=100_000,
            batch_size=8,
            accumulation=4,
            learning_rate=5e-4,
            min_learning_rate=0.0,
            warmup=1000,
        ),
        "42m": _preset(
            _square(dim=512, n_layers=8, n_heads=8, vocab_size=32000, context=1024),
            steps=100_000,
            batch_size=8,
            accumulation=4,
            learning_rate=5e-4,
            min_learning_rate=0.0,
            warmup=1000,
        ),
        "110m": _preset(
            _square(dim=768, n_layers=12, n_heads=12, vocab_size=32000, context=1024),
            steps=200_000,
            batch_size=8,
            accumulation=4,
            learning_rate=4e-4,
            min_learning_rate=0.0,
            warmup=2000,
        ),
    }


def preset(name: str) -> RunConfig:
    """The preset called `name`; ConfigError names the ones there are."""
    known = presets()
    if name not in known:
        raise ConfigError(f"--preset {name}: unknown, expected one of {', '.join(known)}")
    return known[name]


def _square(*, dim: int, n_heads: int, **shape: Any) -> ModelConfig:
    return ModelConfig(
        dim=dim, n_heads=n_heads, n_kv_heads=n_heads, hidden_dim=llama_hidden_dim(dim), **shape
    )


def validate(*configs: ModelConfig | DataConfig | TrainConfig | SampleConfig) -> None:
    """Raise one ConfigError that lists all that is impossible in `configs`."""
    problems = [problem for config in configs for problem in config.problems()]
    if problems:
        raise ConfigError("; ".join(problems))


def validate_run(config: RunConfig) -> None:
    """Raise one ConfigError that lists all that is impossible in a run."""
    validate(config.model, config.data, config.train)


def to_toml(config: RunConfig) -> str:
    """A run as TOML, one table a part; fields that are None are left out."""
    tables = dataclasses.asdict(config)
    return tomli_w.dumps(
        {
            part: {name: value for name, value in table.items() if value is not None}
            for part, table in tables.items()
        }
    )


def read_toml(path: Path, base: RunConfig | None = None) -> RunConfig:
    """Read a run from TOML over `base`; a top-level `preset` names another base.

    Raises ConfigError for a missing or malformed file, and, all at once, for unknown keys and
    values of the wrong type or out of range.
    """
    try:
        with open(path, "rb") as file:
            tables = tomllib.load(file)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not TOML ({error})") from error
    name = tables.pop("preset", None)
    config = preset(name) if isinstance(name, str) else base or RunConfig()
    problems = [] if name is None or isinstance(name, str) else ["preset must be a string"]
    parts: dict[str, Any] = {}
    for part in dataclasses.fields(RunConfig):
        table = tables.pop(part.name, {})
        parts[part.name], found = overlay(getattr(config, part.name), table, part.name)
        problems += found
    problems += [f"unknown table or key {key!r}" for key in tables]
    if not problems:
        config = RunConfig(**parts)
        problems = config.model.problems() + config.data.problems() + config.train.problems()
    if problems:
        raise ConfigError(f"{path}: " + "; ".join(problems))
    return config


def overlay(base: Any, values: object, label: str) -> tuple[Any, list[str]]:
    """The dataclass `base` with `values` laid over it, and the problems found, in words."""
    if not isinstance(values, Mapping):
        return base, [f"[{label}] must be a table"]
    types = get_type_hints(type(base))
    problems, accepted = [], {}
    for key, value in values.items():
        if key not in types:
            problems.append(f"unknown key {label}.{key}")
        elif (fitted := _fit(value, types[key])) is None:
            problems.append(f"{label}.{key} is {value!r}, expected {_type_name(types[key])}")
        else:
            accepted[key] = fitted
    return dataclasses.replace(base, **accepted), problems


def _fit(value: object, kind: Any) -> object | None:
    """`value` as a `kind`, or None where it is none."""
    choices = get_args(kind)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind in (int, float, bool, str):
        return value if type(value) is kind else None
    if str in choices:
        return value if isinstance(value, str) else None
    return value if value in choices else None


def _type_name(kind: Any) -> str:
    if isinstance(kind, type):
        return kind.__name__
    return " or ".join(str(getattr(choice, "__name__", choice)) for choice in get_args(kind))


def _not_positive(config: object, *names: str) -> list[str]:
    return [
        f"{name} is {getattr(config, name)}, expected more than 0"
        for name in names
        if not getattr(config, name) > 0
    ]
