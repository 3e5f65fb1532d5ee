"""A model made smaller before it is trained further: some of its layers, some of its pieces.

What is left is not what it was: it needs training. The config says what was left out.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice, pairwise

import numpy as np

from mlx_rev.config import MOST_LAYERS
from mlx_rev.errors import ConfigError, FormatError
from mlx_rev.formats import names
from mlx_rev.formats.model_file import ModelFile, checked_config
from mlx_rev.text.byte_level import ByteLevel
from mlx_rev.text.byte_level_vocabulary import BYTES, Vocabulary
from mlx_rev.text.codec import StoryCodec
from mlx_rev.text.order import ASSUMED

_TEXTS_AT_ONCE = 2000


def layers_in(text: str) -> list[int]:
    """The layers that "0-9,28,29" names, in order. Raises ConfigError."""
    found: list[int] = []
    for part in text.split(","):
        ends = re.fullmatch(r"\s*(\d{1,6})(?:-(\d{1,6}))?\s*", part)
        first, last = (int(ends[1]), int(ends[2] or ends[1])) if ends else (1, 0)
        if not first <= last < MOST_LAYERS or (found and first <= found[-1]):
            raise ConfigError(
                f"--keep-layers is {text!r}, expected rising numbers and ranges, such as 0-9,28,29"
            )
        found += range(first, last + 1)
    return found


def keep_layers(model: ModelFile, layers: Sequence[int]) -> ModelFile:
    """The model with only these of its layers, counted from 0. Raises FormatError for one that it
    does not have."""
    count = model.config.n_layers
    if missing := [layer for layer in layers if layer >= count]:
        raise FormatError(
            f"{model.source}: has no layer {missing[0]}; its layers are 0 to {count - 1}"
        )

    def read(name: str) -> np.ndarray:
        if (place := re.fullmatch(r"model\.layers\.(\d+)\.(.+)\.weight", name)) is None:
            return model.read(name)
        return model.read(names.layer_name(layers[int(place[1])], place[2]))

    kept = ",".join(map(str, layers))
    return replace(
        model,
        config=replace(model.config, n_layers=len(layers)),
        read=read,
        provenance={**model.provenance, "kept_layers": f"{kept} of {count}"},
    )


def keep_vocabulary(model: ModelFile, texts: Iterable[str]) -> ModelFile:
    """The model with only those pieces that `texts` need, the single bytes and the marks.

    As the model reads them, in its order or both of them, the texts keep their spelling, and so
    does each word in them; another text is spelled by shorter pieces, down to bytes. Raises
    FormatError for a tokenizer that is no byte-level BPE.
    """
    tokenizer = model.tokenizer
    if not isinstance(tokenizer, ByteLevel):
        raise FormatError(
            f"{model.source}: its tokenizer is not a byte-level BPE, and only that can be cut "
            "down; leave out --keep-vocabulary"
        )
    used = {tokenizer.end_of_text}
    rest = iter(texts)
    while some := list(islice(rest, _TEXTS_AT_ONCE)):
        for codec in StoryCodec(tokenizer, model.order or ASSUMED).directions:
            for ids in codec.encode_batch(some):
                used.update(ids)
    kept = needed(tokenizer.vocabulary, used)
    smaller = ByteLevel(_cut(tokenizer.vocabulary, kept), source=tokenizer.source)
    config = replace(model.config, vocab_size=len(kept))

    def read(name: str) -> np.ndarray:
        weight = model.read(name)
        return weight[kept] if name in (names.EMBEDDING, names.OUTPUT) else weight

    return replace(
        model,
        config=checked_config(f"{model.source}, cut to the pieces of the text", config),
        read=read,
        tokenizer=smaller.ending_with(kept.index(tokenizer.end_of_text)),
        stated_end=None,  # the tokenizer knows its new number
        provenance={**model.provenance, "kept_pieces": f"{len(kept)} of {tokenizer.vocab_size}"},
    )


def needed(known: Vocabulary, used: Iterable[int]) -> list[int]:
    """The ids of the pieces that spell as now whatever is spelled with `used`: those, all that are
    merged on the way to them, the single bytes and the marks; in order."""
    id_of = {piece: token for token, piece in enumerate(known.pieces)}
    ranks = {merge: rank for rank, merge in reversed(list(enumerate(known.merges)))}
    apart = known.marks | known.verbatim
    kept = set(used) | apart
    kept.update(id_of[character] for character in BYTES if character in id_of)
    for token in kept - apart:
        kept.update(id_of[piece] for piece in _merged(known.pieces[token], ranks))
    return sorted(kept)


def _merged(piece: str, ranks: dict[tuple[str, str], int]) -> Iterator[str]:
    """The pieces that arise while a piece is merged from its bytes."""
    parts = list(piece)
    while len(parts) > 1:
        pairs = list(pairwise(parts))
        place = min(range(len(pairs)), key=lambda at: ranks.get(pairs[at], len(ranks)))
        if pairs[place] not in ranks:
            return
        parts[place : place + 2] = ["".join(pairs[place])]
        yield parts[place]


def _cut(known: Vocabulary, kept: Sequence[int]) -> Vocabulary:
    """The vocabulary with these pieces, and the merges between them."""
    new = {token: place for place, token in enumerate(kept)}
    pieces = tuple(known.pieces[token] for token in kept)
    there = {known.pieces[token] for token in kept if token not in known.marks}
    return replace(
        known,
        pieces=pieces,
        merges=tuple(merge for merge in known.merges if there.issuperset((*merge, "".join(merge)))),
        marks=frozenset(new[token] for token in known.marks),
        verbatim=frozenset(new[token] for token in known.verbatim),
        boundary=new[known.boundary],
        forward_boundary=new[known.forward_boundary],
    )
