"""A tokenizer as the metadata of a GGUF file, of either of llama.cpp's kinds that Llamas have:
"llama" (SentencePiece BPE) and "gpt2" (byte-level BPE)."""

from typing import Any

import numpy as np

from mlx_rev.errors import FormatError
from mlx_rev.fields import Fields
from mlx_rev.formats.model_file import ModelFile
from mlx_rev.formats.tokenizers.sentencepiece_model import Kind, Piece, pieces_of, tokenizer_of
from mlx_rev.text.byte_level import ByteLevel
from mlx_rev.text.byte_level_vocabulary import PRE_TOKENIZERS, WHOLE_WORDS, Vocabulary
from mlx_rev.text.sentencepiece import SentencePiece
from mlx_rev.text.tokenizer import Tokenizer

_KEY = "tokenizer.ggml."
_FORWARD_BOUNDARY = "mlx_rev.forward_boundary"
"""Ours: the id that bounds forward stories, where eos_token_id is another's."""
_MARKS = (Kind.UNKNOWN, Kind.CONTROL, Kind.UNUSED)


def metadata_of(model: ModelFile) -> dict[str, Any]:
    """The keys and values that describe a model's tokenizer, which GGUF can hold (limits.py)."""
    tokenizer = model.tokenizer
    general = {
        "bos_token_id": np.uint32(model.boundary),
        "eos_token_id": np.uint32(model.end_of_text),
        "add_bos_token": True,
        "add_eos_token": False,
        "add_space_prefix": tokenizer is not None and tokenizer.adds_space,
    }
    own: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    if isinstance(tokenizer, SentencePiece):
        pieces = pieces_of(tokenizer)
        own = {
            "model": "llama",
            "tokens": [piece.text for piece in pieces],
            "scores": np.array([piece.score for piece in pieces], np.float32),
            "token_type": np.array([piece.kind for piece in pieces], np.int32),
            "unknown_token_id": np.uint32(0),
        }
    elif isinstance(tokenizer, ByteLevel):
        known = tokenizer.vocabulary
        own = {
            "model": "gpt2",
            "pre": known.pre_tokenizer_name,
            "tokens": list(known.pieces),
            "token_type": np.array(
                [_kind(known, token) for token in range(len(known.pieces))], np.int32
            ),
            "merges": [" ".join(merge) for merge in known.merges],
        }
        if known.forward_boundary != model.end_of_text:
            extra[_FORWARD_BOUNDARY] = np.uint32(known.forward_boundary)
    return {_KEY + key: value for key, value in {**own, **general}.items()} | extra


def _kind(known: Vocabulary, token: int) -> Kind:
    if token in known.marks:
        return Kind.CONTROL
    return Kind.USER_DEFINED if token in known.verbatim else Kind.NORMAL


def end_of_text(metadata: Fields) -> int | None:
    """The id that ends a text, as far as the metadata say."""
    key = _KEY + "eos_token_id"
    return metadata.integer(key) if metadata.has(key) else None


def tokenizer_in(metadata: Fields) -> Tokenizer | None:
    """The tokenizer that the metadata of a file describe, None where there is none.

    Raises FormatError, naming the key, for one of another kind, and DataError where it could not
    spell every text.
    """
    if not metadata.has(_KEY + "tokens"):
        return None
    match metadata.text(_KEY + "model", "llama"):
        case "llama":
            return _sentencepiece(metadata)
        case "gpt2":
            return _byte_level(metadata)
    raise metadata.error(
        _KEY + "model", "'llama' (SentencePiece) or 'gpt2' (byte-level BPE); or give --tokenizer"
    )


def _sentencepiece(metadata: Fields) -> Tokenizer | None:
    if not (metadata.has(_KEY + "scores") and metadata.has(_KEY + "token_type")):
        return None
    texts = _texts(metadata, _KEY + "tokens")
    scores = _numbers(metadata, _KEY + "scores", "f")
    kinds = _kinds(metadata, len(texts))
    if len(scores) != len(texts):
        raise FormatError(f"{metadata.source}: has {len(texts)} tokens and {len(scores)} scores")
    pieces = [
        Piece(text, float(score), kind)
        for text, score, kind in zip(texts, scores, kinds, strict=True)
    ]
    adds_space = metadata.flag(_KEY + "add_space_prefix", True)
    return tokenizer_of(pieces, adds_space=adds_space, source=metadata.source)


def _byte_level(metadata: Fields) -> Tokenizer:
    name = metadata.text(_KEY + "pre", "default")
    if name not in PRE_TOKENIZERS:
        raise metadata.error(_KEY + "pre", f"{', '.join(PRE_TOKENIZERS)}; or give --tokenizer")
    pieces = _texts(metadata, _KEY + "tokens")
    kinds = _kinds(metadata, len(pieces))
    merges = [tuple(merge.split(" ")) for merge in _texts(metadata, _KEY + "merges")]
    if wrong := [merge for merge in merges if len(merge) != 2]:
        raise FormatError(
            f"{metadata.source}: {_KEY}merges has {' '.join(wrong[0])!r}, expected two pieces"
        )
    boundary = metadata.integer(_KEY + "bos_token_id")
    end = metadata.integer(_KEY + "eos_token_id", boundary)
    known = Vocabulary(
        pieces=tuple(pieces),
        merges=tuple((merge[0], merge[1]) for merge in merges),
        marks=frozenset(token for token, kind in enumerate(kinds) if kind in _MARKS),
        boundary=boundary,
        forward_boundary=metadata.integer(_FORWARD_BOUNDARY, end),
        pre_tokenizer=PRE_TOKENIZERS[name],
        whole_words=name in WHOLE_WORDS,
        verbatim=frozenset(token for token, kind in enumerate(kinds) if kind is Kind.USER_DEFINED),
    )
    return ByteLevel(known, source=metadata.source)


def _kinds(metadata: Fields, count: int) -> list[Kind]:
    key = _KEY + "token_type"
    kinds = _numbers(metadata, key, "iu")
    if len(kinds) != count:
        raise FormatError(f"{metadata.source}: has {count} tokens and {len(kinds)} types")
    if unknown := set(kinds) - set(Kind):
        raise FormatError(f"{metadata.source}: {key} has {unknown.pop()}, expected 1 to 6")
    return [Kind(kind) for kind in kinds]


def _texts(metadata: Fields, key: str) -> list[str]:
    values = metadata.list(key)
    if not all(isinstance(value, str) for value in values):
        raise metadata.error(key, "a list of strings")
    return values


def _numbers(metadata: Fields, key: str, kinds: str) -> list[Any]:
    """An array of numbers of one of numpy's kinds."""
    values = metadata.values.get(key)
    if not isinstance(values, np.ndarray) or values.dtype.kind not in kinds:
        raise metadata.error(key, f"a list of {'numbers' if kinds == 'f' else 'whole numbers'}")
    return list(values.tolist())
