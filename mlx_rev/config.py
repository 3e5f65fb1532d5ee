"""Every option of the project, as frozen dataclasses, with the checks of their values.

The docstring below a field is its help text on the command line.
"""

import math
from dataclasses import dataclass, field
from enum import StrEnum
from numbers import Integral
from typing import Literal, get_args

from mlx_rev import estimate
from mlx_rev.config_checks import not_finite, not_positive, not_text, too_many
from mlx_rev.errors import ConfigError

ReversalMode = Literal["word2", "word", "token", "none", "word2,none", "word,none", "token,none"]
"""The names of the orders in text/order.py; with ",none" the model reads forwards too."""
Packing = Literal["epoch", "shards", "once"]
"""How stories are packed into rows; "once" in runs from before there was a choice."""

OnError = Literal["stop", "skip"]
OptimizerName = Literal["adamw", "muon"]
Schedule = Literal["cosine", "linear"]


class Dtype(StrEnum):
    """The type of a model's matrices, in a file or while it trains; vectors are float32 or, beside
    float16 and bfloat16, of that type."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    BFLOAT16 = "bfloat16"
    Q8 = "q8"
    """8 bits and a scale for each group, in the format's own way; only in files."""


TrainingDtype = Literal[Dtype.FLOAT32, Dtype.BFLOAT16]
"""What a model can be trained in."""

LARGEST_SIZE = 1 << 20
"""A width, vocabulary or context beyond this counts as damage, before anything is allocated."""
MOST_LAYERS = 1000
"""Far more than any Llama has; a file that says more is damaged."""
HOTTEST = 100.0
"""As good as uniform; not far beyond, float32 overflows."""
SEEDS = 1 << 63
"""Generators take seeds below this."""


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
    """Size of the vocabulary: tokenizer pieces, and rows of the embedding."""
    context: int = 256
    """Longest sequence in tokens."""
    norm_eps: float = 1e-5
    """Added to the mean square in RMSNorm."""
    rope_theta: float = 10000.0
    """Base of the rotary position embedding (RoPE)."""
    head_size: int = 0
    """Width of one attention head; 0 is dim / n_heads."""
    rope_factor: float = 1.0
    """How many times slower RoPE's slowest rotations are than rope_theta says, as in Llama 3; 1 is
    no scaling."""
    rope_low_frequency: float = 1.0
    """Rotations in rope_original_context below which a frequency counts as slow."""
    rope_high_frequency: float = 4.0
    """The same above which it is left alone."""
    rope_original_context: int = 8192
    """Context for which the unscaled RoPE was trained."""
    tied: bool = True
    """Use the embedding as the output projection too."""
    dropout: float = 0.0
    """Dropout on the embedding and on each block's two residual branches."""

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.head_size or self.dim // self.n_heads

    def rope_slowdown(self, pair: int) -> float:
        """How many times slower a pair of a head's numbers is rotated than rope_theta says.

        Llama 3's rope scaling (transformers, modeling_rope_utils.py): a slow rotation by
        rope_factor, a fast one not at all, and in between the factor fades.
        """
        if self.rope_factor == 1:
            return 1.0
        wavelength = 2 * math.pi * self.rope_theta ** (2 * pair / self.head_dim)
        low, high = self.rope_low_frequency, self.rope_high_frequency
        kept = (self.rope_original_context / wavelength - low) / (high - low)
        kept = min(max(kept, 0.0), 1.0)
        return float(1 / ((1 - kept) / self.rope_factor + kept))

    def problems(self) -> list[str]:
        """What makes this shape impossible, in words."""
        found = not_finite(self) + not_positive(
            self, "dim", "n_layers", "n_heads", "n_kv_heads", "hidden_dim", "context"
        )
        found += [
            f"{name} is {getattr(self, name)}, expected at most {LARGEST_SIZE}"
            for name in ("dim", "hidden_dim", "vocab_size", "context")
            if getattr(self, name) > LARGEST_SIZE
        ]
        if self.context == 1:
            found.append("context is 1, expected 2 or more: a token is predicted from others")
        if found:
            return found
        if self.n_layers > MOST_LAYERS:
            found.append(f"n_layers is {self.n_layers}, expected at most {MOST_LAYERS}")
        if self.head_size < 0 or self.head_size > LARGEST_SIZE:
            found.append(f"head_size is {self.head_size}, expected 0 to {LARGEST_SIZE}")
        elif not self.head_size and self.dim % self.n_heads:
            found.append(f"n_heads {self.n_heads} does not divide dim {self.dim}")
        elif self.head_dim % 2:
            found.append(f"head size {self.head_dim} is odd, expected even: RoPE rotates pairs")
        if self.n_heads % self.n_kv_heads:
            found.append(f"n_kv_heads {self.n_kv_heads} does not divide n_heads {self.n_heads}")
        if self.vocab_size < 260:
            found.append(f"vocab_size is {self.vocab_size}; 256 bytes and 3 marks need over 259")
        if not 0 <= self.dropout < 1:
            found.append(f"dropout is {self.dropout}, expected 0 or more and under 1")
        if self.norm_eps <= 0 or self.rope_theta <= 0:
            found.append("norm_eps and rope_theta must be positive")
        if self.rope_factor < 1 or self.rope_original_context < 1:
            found.append("rope_factor and rope_original_context must be 1 or more")
        if not 0 < self.rope_low_frequency < self.rope_high_frequency:
            found.append("rope_low_frequency must be positive, and below rope_high_frequency")
        return found


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Where the stories come from and in which order the model reads them."""

    data: str = "bundled"
    """bundled, tinystories, tinystories-v2, hf:owner/name[:column][@revision], a file, folder or
    glob, or - for standard input; several as NAME=WEIGHT,NAME=WEIGHT. See docs/corpora.md."""
    field: str | None = None
    """Key or column of the text in JSON or Parquet; by default "story", "text" or "content"."""
    valid: str | None = None
    """Held-out stories, named as for --data; by default a share of the data is held out."""
    valid_share: float = 0.02
    """Share of stories held out when no --valid is given."""
    min_chars: int = 0
    """Drop stories of fewer characters."""
    max_chars: int = 0
    """Drop stories of more characters; 0 is no limit."""
    limit: int = 0
    """Read only the first so many stories of each source; 0 reads all."""
    deduplicate: bool = False
    """Train on each story once, however often it is in the data, word for word."""
    repair: bool = False
    """Mend text that was decoded wrongly (â€™ for ’), and make curly quotes straight."""
    on_error: OnError = "stop"
    """What to do about a story that cannot be read: stop, or skip it and say so at the end."""
    reversal: ReversalMode = "word2"
    """word2: by word, with its marks; word: as in the article; token: by token; none: forward;
    word2,none: one model of both directions."""
    tokenizer: str | None = None
    """A SentencePiece .model or a tokenizer.json of byte-level BPE to use; by default a
    SentencePiece vocabulary is trained on the data."""

    def problems(self) -> list[str]:
        """What makes these options impossible, in words."""
        found = [
            f"{name} is {getattr(self, name)}, expected 0 or more"
            for name in ("min_chars", "max_chars", "limit")
            if getattr(self, name) < 0
        ]
        if 0 < self.max_chars < self.min_chars:
            found.append(f"max_chars is {self.max_chars}, below min_chars {self.min_chars}")
        if self.on_error not in get_args(OnError):
            found.append(f"on_error is {self.on_error}, expected stop or skip")
        if not 0 < self.valid_share < 1:
            found.append(f"valid_share is {self.valid_share}, expected between 0 and 1")
        return found


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How the model is trained."""

    steps: int = 2000
    """Number of optimiser steps."""
    batch_size: int = 16
    """Rows of a micro-batch, over all machines and workers."""
    accumulation: int = 1
    """Micro-batches per optimiser step."""
    learning_rate: float = 3e-3
    """Peak learning rate."""
    min_learning_rate: float = 3e-4
    """Learning rate that the schedule ends on, a step after the last one."""
    init_std: float = 0.02
    """Standard deviation of the initial weights."""
    embedding_init_std: float = 0.02
    """Standard deviation of the initial embedding."""
    warmup: int = 100
    """Steps of linear warm-up."""
    schedule: Schedule = "cosine"
    """How the rate falls from its peak to its minimum: as half a cosine or in a line."""
    decay_share: float = 1.0
    """Share of the steps after the warm-up, the last ones, in which the rate falls. Before them it
    stays at its peak, so that from a checkpoint of that time a run resumes with more --steps as if
    they had been asked for at once."""
    optimizer: OptimizerName = "adamw"
    """adamw, or muon: Muon for the matrices of the blocks, AdamW for all else."""
    muon_learning_rate: float = 0.02
    """Muon's peak learning rate; it rises and falls as AdamW's does."""
    weight_decay: float = 0.1
    """Decoupled weight decay, on matrices only."""
    beta1: float = 0.9
    """AdamW's decay rate for the mean of the gradients."""
    beta2: float = 0.95
    """AdamW's decay rate for the mean of their squares."""
    gradient_clip: float = 1.0
    """Largest global gradient norm; 0 turns clipping off."""
    workers: int = 0
    """Threads that share the rows of a batch on a CPU; 0 is one per core."""
    dtype: TrainingDtype = Dtype.FLOAT32
    """Type of the forward and backward pass; bfloat16 keeps float32 master weights (GPU only)."""
    seed: int = 1337
    """Seed of weights, batch order, dropout and samples."""
    packing: Packing = "epoch"
    """epoch: stories are shuffled and packed into rows anew each epoch; shards: the same, but the
    first epoch takes 64 MB of text after 64 MB, so that training begins when the first are
    tokenised; once: as earlier versions did."""
    log_every: int = 20
    """Steps between log lines."""
    eval_every: int = 250
    """Steps between evaluations."""
    eval_stories: int = 200
    """Held-out stories per evaluation; 0 uses all."""
    save_every: int = 250
    """Steps between checkpoints."""
    keep: int = 2
    """How many of the newest checkpoints to keep, besides the best."""
    sample_every: int = 250
    """Steps between sample stories."""
    ending: str = "They all lived happily ever after."
    """The ending that sample stories are told from."""
    compile: bool = True
    """Compile the training step."""

    def problems(self) -> list[str]:
        """What makes these options impossible, in words."""
        found = not_finite(self) + too_many(self)
        found += not_positive(
            self,
            *("steps", "batch_size", "accumulation", "learning_rate"),
            *("init_std", "embedding_init_std", "muon_learning_rate", "log_every"),
            *("eval_every", "save_every", "keep", "sample_every"),
        )
        for name in ("warmup", "weight_decay", "gradient_clip", "eval_stories", "seed", "workers"):
            if getattr(self, name) < 0:
                found.append(f"{name} is {getattr(self, name)}, expected 0 or more")
        if self.seed >= SEEDS:
            found.append(f"seed is {self.seed}, expected under 2^63")
        choices = {
            "dtype": TrainingDtype,
            "packing": Packing,
            "optimizer": OptimizerName,
            "schedule": Schedule,
        }
        for name, kind in choices.items():
            if getattr(self, name) not in get_args(kind):
                expected = " or ".join(get_args(kind))
                found.append(f"{name} is {getattr(self, name)}, expected {expected}")
        if self.workers > self.batch_size > 0:
            found.append(
                f"workers is {self.workers}, expected 0 (one per core) to batch_size "
                f"{self.batch_size}: each needs a row"
            )
        if not 0 <= self.min_learning_rate <= self.learning_rate:
            found.append(
                f"min_learning_rate is {self.min_learning_rate}, expected 0 to "
                f"learning_rate {self.learning_rate}"
            )
        if not 0 <= self.decay_share <= 1:
            found.append(f"decay_share is {self.decay_share}, expected 0 to 1")
        for name in ("beta1", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                found.append(f"{name} is {getattr(self, name)}, expected 0 or more and under 1")
        return found


@dataclass(frozen=True, kw_only=True)
class SampleConfig:
    """How the next token is chosen."""

    temperature: float = 0.8
    """Randomness of the choice; 0 always takes the likeliest token."""
    top_k: int = 0
    """Keep the k likeliest tokens; 0 keeps all."""
    top_p: float = 0.95
    """Keep the likeliest tokens that together reach this probability; 1 keeps all."""
    min_p: float = 0.0
    """Keep tokens whose probability is at least this share of the likeliest one's."""
    repetition_penalty: float = 1.0
    """Penalty on repeating one of the last 64 tokens, as in CTRL; 1 is none."""
    max_tokens: int = 0
    """Most tokens to write; 0 is up to the end of the context."""
    seed: int = 0
    """The same seed tells the same story again."""

    def problems(self) -> list[str]:
        """What makes these options impossible, in words."""
        counts = ("top_k", "max_tokens", "seed")
        found = [
            f"{name} is {getattr(self, name)}, expected a whole number"
            for name in counts
            if not isinstance(getattr(self, name), Integral)
        ]
        found += too_many(self) + [
            f"{name} is {getattr(self, name)}, expected 0 or more"
            for name in counts
            if not getattr(self, name) >= 0
        ]
        if not 0 <= self.temperature <= HOTTEST:
            found.append(f"temperature is {self.temperature}, expected 0 to {HOTTEST:g}")
        if self.seed >= SEEDS:
            found.append(f"seed is {self.seed}, expected under 2^63")
        if not 0 < self.top_p <= 1:
            found.append(f"top_p is {self.top_p}, expected over 0 and at most 1")
        if not 0 <= self.min_p <= 1:
            found.append(f"min_p is {self.min_p}, expected 0 to 1")
        if not 1 / HOTTEST <= self.repetition_penalty <= HOTTEST:
            found.append(
                f"repetition_penalty is {self.repetition_penalty}, expected {1 / HOTTEST:g} to "
                f"{HOTTEST:g}"
            )
        return found


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """A training run: the model, its data and how it is trained."""

    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    train: TrainConfig = field(default_factory=TrainConfig)


def validate(*configs: ModelConfig | DataConfig | TrainConfig | SampleConfig) -> None:
    """Raise one ConfigError that lists all that is impossible in `configs`."""
    problems = [problem for config in configs for problem in config.problems()]
    if problems:
        raise ConfigError("; ".join(problems))


def validate_run(config: RunConfig, nodes: int = 1) -> None:
    """Raise one ConfigError that lists all that is impossible in a run, or, where nothing is,
    says that this machine, one of `nodes`, has too little memory for it."""
    parts = config.model, config.data, config.train
    if problems := [problem for part in parts for problem in not_text(part)]:
        raise ConfigError("; ".join(problems))
    validate(*parts)
    estimate.check_training_fits(config.model, config.train, nodes)
