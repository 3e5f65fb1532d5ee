"""How likely a text is under a model that had no part in it: one of ours, or any of mlx-lm's."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from mlx.utils import tree_map

from mlx_rev import backend, hub
from mlx_rev.errors import ConfigError, FormatError, RevError
from mlx_rev.formats.detect import open_model
from mlx_rev.model.load import Loaded, load_model
from mlx_rev.model.score import nats_of
from mlx_rev.model.scorer import Scorer

if TYPE_CHECKING:
    from mlx_rev.generate.teller import Teller

Progress = Callable[[float], None]
"""Told which share of the work is done, 0 to 1."""

_READ_AT_ONCE = 1024
"""Positions of whole texts; more fit no CPU's cache."""
_CACHED_AT_ONCE = 8192
"""Positions of endings and of the bodies before them, of which each row has its own copy."""
_LONGEST = 1 << 14
"""The context of a model by others that does not say."""


class Judge(Protocol):
    """Says how surprised it is, in nats."""

    @property
    def name(self) -> str:
        """As a person would name it."""

    @property
    def forward(self) -> bool:
        """Whether it reads from the beginning to the ending, and so can tell which ending fits."""

    def text_nats(self, texts: Sequence[str], progress: Progress) -> np.ndarray:
        """The surprise (N,) of whole texts."""

    def ending_nats(
        self, bodies: Sequence[str], endings: Sequence[str], progress: Progress
    ) -> np.ndarray:
        """The surprise (bodies, endings) of every ending after every body; after the body "", of
        an ending as a text of its own. Raises ConfigError where the judge is not forward."""

    def adjoining_nats(
        self, contexts: Sequence[str], texts: Sequence[str], progress: Progress
    ) -> np.ndarray:
        """The surprise (contexts, texts) of every text next to every context, on the side to which
        the judge reads on: after it or, for one that reads backwards, before it."""

    def joined_nats(
        self, contexts: Sequence[str], texts: Sequence[str], progress: Progress
    ) -> tuple[np.ndarray, np.ndarray]:
        """`text_nats` of each context with its own text next to it, (N,), and what `adjoining_nats`
        says of that text, (N,), in one reading."""


def ignore(share: float) -> None:
    """The progress of what nobody watches."""


@dataclass(frozen=True)
class ModelJudge:
    """A judge that is a network and a vocabulary.

    A text stands after the boundary. Of ours the boundary after it counts too, as it does for
    `mlx-rev score`; a model by others may close a text with something else than it begins with.
    """

    name: str
    network: Scorer
    encode: Callable[[str], list[int]]
    """From a text to ids, without boundaries."""
    boundary: int
    closes: bool
    forward: bool = True
    says_reversal: bool = True

    def text_nats(self, texts: Sequence[str], progress: Progress = ignore) -> np.ndarray:
        """See `Judge`. Of a text longer than the context, parts are read that overlap by half."""
        closing = [self.boundary] if self.closes else []
        scored = self._scored(
            [[self.boundary, *self.encode(text), *closing] for text in texts], progress
        )
        return np.array([row.sum() for row in scored])

    def joined_nats(
        self, contexts: Sequence[str], texts: Sequence[str], progress: Progress = ignore
    ) -> tuple[np.ndarray, np.ndarray]:
        """See `Judge`. One space stands between the two. Where a context is too long to be read
        with the text in one piece, the part next to the text is read again."""
        spelled = {text: self._next_to_another(text) for text in dict.fromkeys(texts)}
        closing = [self.boundary] if self.closes else []
        before = [[self.boundary, *self.encode(context)] for context in contexts]
        rows = [[*ids, *spelled[text], *closing] for ids, text in zip(before, texts, strict=True)]
        scored = self._scored(rows, progress)
        next_to = np.zeros(len(rows))
        for place, (own, ids, text) in enumerate(zip(scored, before, texts, strict=True)):
            if len(rows[place]) <= self.network.context + 1:
                start = len(ids) - 1
                next_to[place] = own[start : start + len(spelled[text])].sum()
            else:
                next_to[place] = self.adjoining_nats([contexts[place]], [text])[0, 0]
        return np.array([own.sum() for own in scored]), next_to

    def _scored(self, texts: Sequence[Sequence[int]], progress: Progress) -> list[np.ndarray]:
        """The surprise of every id of each text but the first, in nats, float64."""
        return nats_of(self.network, texts, at_once=_READ_AT_ONCE, progress=progress)

    def ending_nats(
        self, bodies: Sequence[str], endings: Sequence[str], progress: Progress = ignore
    ) -> np.ndarray:
        """See `Judge`. One space stands before an ending, wherever it comes from, and of a body
        too long for the context the last part is read."""
        if not self.forward:
            raise ConfigError(
                f"{self.name}: reads backwards, so it meets the ending first; which ending belongs "
                "to a story takes a judge that reads forwards"
            )
        return self.adjoining_nats(bodies, endings, progress)

    def adjoining_nats(
        self, contexts: Sequence[str], texts: Sequence[str], progress: Progress = ignore
    ) -> np.ndarray:
        """See `Judge`. One space stands between the two, and of a context too long the part next
        to the text is read.

        Each context is read once and its keys and values serve all texts: that costs as many
        tokens as the contexts have, and the texts as often as there are contexts. Raises
        ConfigError for a text that does not fit into the model's context.
        """
        spelled = [self._next_to_another(text) for text in texts]
        order = sorted(range(len(texts)), key=lambda index: len(spelled[index]))
        longest = max(map(len, spelled))
        if longest >= self.network.context:
            part = "an ending" if self.forward else "a beginning"
            raise ConfigError(
                f"{self.name}: {part} has {longest} of its tokens, its context only "
                f"{self.network.context}; give a shorter one or another judge"
            )
        nats = np.zeros((len(contexts), len(texts)))
        for number, context in enumerate(contexts):
            ids = [self.boundary, *(self.encode(context) if context else [])]
            ids = ids[-(self.network.context - longest + 1) :]
            cache = self.network.read(ids[:-1], longest)
            size = max(1, _CACHED_AT_ONCE // (len(ids) + longest))
            for start in range(0, len(order), size):
                part_of_them = order[start : start + size]
                rows = [[ids[-1], *spelled[index]] for index in part_of_them]
                inputs, targets = _padded(rows)
                shared = self.network.shared(cache, len(rows))
                scored = self.network.nats(inputs, targets, shared)
                for row, own, index in zip(scored, rows, part_of_them, strict=True):
                    nats[number, index] = row[: len(own) - 1].sum(dtype=float)
            progress((number + 1) / len(contexts))
        return nats

    def _next_to_another(self, text: str) -> list[int]:
        """The ids of a text where a space and another sentence come before it, in the order in
        which the judge reads."""
        other = "." if self.forward else "He"
        before = self.encode(other)
        ids = self.encode(f"{other} {text}" if self.forward else f"{text} {other}")
        if ids[: len(before)] == before:
            return ids[len(before) :]
        return self.encode(f" {text}" if self.forward else f"{text} ")


def load_judge(reference: str, tokenizer: Path | None = None) -> ModelJudge:
    """The judge called `reference`: what `open_model` opens, or what mlx_lm.load does (a folder,
    hf:owner/repo). One that does not say how its text is reversed is taken to read forwards.

    `tokenizer` serves a model of ours that has none. Raises RevError.
    """
    place = hub.fetch_model(reference) if hub.is_reference(reference) else Path(reference)
    try:
        has_own = open_model(place).tokenizer is not None
        loaded = load_model(
            place, tokenizer=None if has_own else tokenizer, ops=backend.choose().ops
        )
    except RevError as error:
        if not (place / "config.json").is_file():
            raise
        return _load_from_mlx_lm(reference, place, error)
    return judge_of(loaded, reference)


def judge_of(
    loaded: "Loaded | Teller", name: str = "this model", *, turned: bool = True
) -> ModelJudge:
    """A model that is loaded already as a judge. One of two directions judges forwards, unless it
    is not to be `turned`."""
    codec = (loaded.codec.opposite if turned else None) or loaded.codec
    return ModelJudge(
        name=name,
        network=loaded.model.ops.scorer(loaded.model),
        encode=codec.encode,
        boundary=codec.boundary,
        closes=True,
        forward=not codec.order.grows_leftwards,
        says_reversal=loaded.says_reversal,
    )


class MlxLmNetwork:
    """A `Scorer` that mlx-lm runs."""

    def __init__(self, model: Any, context: int) -> None:
        self._model, self.context = model, context

    def nats(self, inputs: mx.array, targets: mx.array, cache: Any = None) -> np.ndarray:
        """See `Scorer`."""
        logits = self._model(inputs, cache=cache).astype(mx.float32)
        return np.array(nn.losses.cross_entropy(logits, targets))

    def read(self, ids: Sequence[int], room: int) -> Any:
        """See `Scorer`."""
        from mlx_lm.models.cache import make_prompt_cache

        cache = make_prompt_cache(self._model)
        if ids:
            mx.eval(self._model(mx.array([ids]), cache=cache))
        return cache

    def shared(self, cache: Any, rows: int) -> Any:
        """See `Scorer`. `state` is how every kind of mlx-lm's caches is saved and restored."""
        from mlx_lm.models.cache import make_prompt_cache

        fresh = make_prompt_cache(self._model)
        for own, layer in zip(fresh, cache, strict=True):
            if not layer.empty():
                own.state = tree_map(partial(_repeated, rows), layer.state)
        return fresh


def _repeated(rows: int, value: Any) -> Any:
    """The row of an array so many times; a cache's counts are the same for every row."""
    return mx.repeat(value, rows, 0) if isinstance(value, mx.array) else value


def _load_from_mlx_lm(reference: str, folder: Path, refused: RevError) -> ModelJudge:
    """A judge from mlx-lm; `refused` is why it cannot be one of ours."""
    import mlx_lm

    try:
        model, tokenizer = mlx_lm.load(str(folder))[:2]
    except Exception as error:  # their many kinds, and those of transformers
        lines = str(error).splitlines() or [type(error).__name__]
        raise FormatError(f"{refused}; nor can mlx-lm load it ({lines[0]})") from error
    if mx.default_device() == mx.Device(mx.cpu):
        model.set_dtype(mx.float32)  # the others take thirty times as long there
    boundary = tokenizer.bos_token_id
    boundary = tokenizer.eos_token_id if boundary is None else boundary
    if boundary is None:
        raise FormatError(
            f"{reference}: its tokenizer has no mark for the beginning of a text, so its first "
            "word cannot be judged; give another judge"
        )
    context = getattr(model.args, "max_position_embeddings", None) or _LONGEST
    return ModelJudge(
        name=reference,
        network=MlxLmNetwork(model, int(context)),
        encode=lambda text: list(tokenizer.encode(text, add_special_tokens=False)),
        boundary=int(boundary),
        closes=False,
    )


def _padded(rows: Sequence[Sequence[int]]) -> tuple[mx.array, mx.array]:
    """Inputs and targets (B, T) of rows of ids; what is behind a shorter row does not count."""
    width = max(map(len, rows)) - 1
    ids = np.zeros((len(rows), width + 1), np.int32)
    for own, row in zip(ids, rows, strict=True):
        own[: len(row)] = row
    return mx.array(ids[:, :-1]), mx.array(ids[:, 1:])
