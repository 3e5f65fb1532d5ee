"""A SentencePiece model file made from a list of pieces, for formats that keep only those."""

import math
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from mlx_rev.errors import FormatError
from mlx_rev.text.sentencepiece import SPACE_MARK, SentencePiece, model_proto
from mlx_rev.text.tokenizer import BOUNDARY

UNKNOWN, END = 0, 2
FIRST_BYTE = 3


class Kind(IntEnum):
    """What a piece is, numbered as in sentencepiece_model.proto and in GGUF."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


@dataclass(frozen=True)
class Piece:
    """A piece with its score; spaces in it are U+2581."""

    text: str
    score: float
    kind: Kind


def pieces_of(tokenizer: SentencePiece) -> list[Piece]:
    """The pieces of a tokenizer, in the order of their ids."""
    return [Piece(piece.piece, piece.score, Kind(piece.type)) for piece in parsed(tokenizer).pieces]


def tokenizer_of(pieces: list[Piece], *, adds_space: bool, source: str) -> SentencePiece:
    """A BPE tokenizer with these pieces, white space kept as it stands.

    Raises FormatError for an impossible piece or score, DataError if SentencePiece cannot use
    them.
    """
    for token, piece in enumerate(pieces):
        if not math.isfinite(piece.score):
            raise FormatError(f"{source}: score of piece {token} is {piece.score}, not a number")
        if any("\ud800" <= character <= "\udfff" for character in piece.text):
            raise FormatError(f"{source}: piece {token} is not valid Unicode")
    protobuf = model_proto()
    model = protobuf.ModelProto()
    for piece in pieces:
        model.pieces.add(piece=piece.text, score=piece.score, type=int(piece.kind))
    model.trainer_spec.model_type = protobuf.TrainerSpec.BPE
    model.trainer_spec.vocab_size = len(pieces)
    model.trainer_spec.byte_fallback = any(piece.kind is Kind.BYTE for piece in pieces)
    model.trainer_spec.unk_id = UNKNOWN
    model.trainer_spec.bos_id = BOUNDARY
    model.trainer_spec.eos_id = END
    model.trainer_spec.pad_id = -1
    model.trainer_spec.unk_surface = " \u2047 "
    model.normalizer_spec.name = "identity"
    model.normalizer_spec.add_dummy_prefix = adds_space
    model.normalizer_spec.remove_extra_whitespaces = False
    model.normalizer_spec.escape_whitespaces = True
    return SentencePiece(model.SerializeToString(deterministic=True), source=source)


def kind_at(token: int, text: str) -> Kind:
    """The kind of a piece in llama2.c's layout of a vocabulary: unknown, marks, bytes, the rest."""
    if token == UNKNOWN:
        return Kind.UNKNOWN
    if token in (BOUNDARY, END):
        return Kind.CONTROL
    if FIRST_BYTE <= token < FIRST_BYTE + 256 and text == f"<0x{token - FIRST_BYTE:02X}>":
        return Kind.BYTE
    return Kind.NORMAL


def with_marks(text: str) -> str:
    """`text` with SentencePiece's mark for each space."""
    return text.replace(" ", SPACE_MARK)


def without_marks(text: str) -> str:
    """`text` with a space for each of SentencePiece's marks."""
    return text.replace(SPACE_MARK, " ")


def padded(tokenizer: SentencePiece, size: int) -> SentencePiece:
    """The tokenizer with unused pieces up to `size`: many models have more rows than pieces, and
    these ids then have a place and no text."""
    model = parsed(tokenizer)
    for token in range(len(model.pieces), size):
        model.pieces.add(piece=padding_text(token), score=0.0, type=int(Kind.UNUSED))
    model.trainer_spec.vocab_size = size
    return SentencePiece(model.SerializeToString(deterministic=True))


def padding_text(token: int) -> str:
    """The name of an unused piece; SentencePiece needs names, and no two alike."""
    return f"<unused {token}>"


def is_bpe(tokenizer: SentencePiece) -> bool:
    """Whether it is a BPE model, as all formats but SentencePiece's own assume."""
    return bool(parsed(tokenizer).trainer_spec.model_type == model_proto().TrainerSpec.BPE)


def parsed(tokenizer: SentencePiece) -> Any:
    """The protobuf message of a tokenizer's .model file, a copy."""
    return model_proto().ModelProto.FromString(tokenizer.content)
