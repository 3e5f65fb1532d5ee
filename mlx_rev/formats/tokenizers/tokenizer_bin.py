"""llama2.c's tokenizer.bin (tokenizer.py, export) and the SentencePiece model it came from."""

import hashlib
import struct
from collections.abc import Callable
from pathlib import Path

from mlx_rev.errors import FormatError
from mlx_rev.formats.tokenizers.sentencepiece_model import (
    END,
    Kind,
    Piece,
    kind_at,
    padding_text,
    pieces_of,
    tokenizer_of,
    with_marks,
    without_marks,
)
from mlx_rev.program import runnable
from mlx_rev.text.sentencepiece import SentencePiece
from mlx_rev.text.tokenizer import BOUNDARY

TOKENIZER_BIN = "tokenizer.bin"
NEIGHBOURS = (TOKENIZER_BIN, "tokenizer.model")
"""The files beside a .bin that keep its tokenizer: llama2.c's form, and SentencePiece's own."""
_MARKS = {BOUNDARY: "<s>", END: "</s>"}
_LONGEST_PIECE = 1 << 16
_NEVER_MERGED = -1e30
"""run.c merges at scores above -1e10."""


def to_bytes(tokenizer: SentencePiece) -> bytes:
    """The content of tokenizer.bin.

    run.c refuses a piece of no bytes. So an unused piece gets a text that run.c prints nothing
    for and never looks up, and a score below the least at which it merges.
    """
    return _content(tokenizer, lambda token: (_NEVER_MERGED, _unused_text(token)))


def pieces_fingerprint(tokenizer: SentencePiece) -> str:
    """sha256 of the pieces as in tokenizer.bin, unused ones without a text: the same for a
    tokenizer and for one rebuilt from its pieces."""
    return hashlib.sha256(_content(tokenizer, lambda token: (0.0, ""))).hexdigest()


def _content(tokenizer: SentencePiece, unused: Callable[[int], tuple[float, str]]) -> bytes:
    entries = []
    for token, piece in enumerate(pieces_of(tokenizer)):
        score, text = piece.score, without_marks(piece.text)
        if token in _MARKS:
            text = f"\n{_MARKS[token]}\n"
        elif piece.kind is Kind.UNUSED:
            score, text = unused(token)
        entries.append((score, text.encode()))
    content = [struct.pack("<I", max(len(text) for _, text in entries))]
    content += [struct.pack("<fi", score, len(text)) + text for score, text in entries]
    return b"".join(content)


def _unused_text(token: int) -> str:
    """The text of an unused piece in the file: run.c reads it as byte 0, which it does not print;
    with more than one character, no character of a prompt is looked up as it."""
    return f"<0x00 unused {token}>"


def recognises(start: bytes) -> bool:
    """Whether a file that begins with `start` is a tokenizer.bin: its first piece is <unk>."""
    return _first_piece_at(start, 8) and int.from_bytes(start[:4], "little") < _LONGEST_PIECE


def is_early(start: bytes) -> bool:
    """Whether a file that begins with `start` is a tokenizer.bin as llama2.c wrote it before it had
    a header, with or without scores."""
    return _first_piece_at(start, 4) or _first_piece_at(start, 0)


def _first_piece_at(start: bytes, offset: int) -> bool:
    return start[offset : offset + 9] == b"\5\0\0\0<unk>"


def read(path: Path) -> SentencePiece:
    """Rebuild the SentencePiece model, so that it encodes and decodes as run.c does with the file.

    Raises FormatError for a damaged file, or an early one without scores, and DataError where
    SentencePiece cannot use the pieces.
    """
    content = path.read_bytes()
    if len(content) < 4:
        raise FormatError(f"{path}: {len(content)} bytes; not a tokenizer.bin")
    if _first_piece_at(content, 0):
        command = runnable("mlx-rev convert tokenizer.model tokenizer.bin")
        raise FormatError(
            f"{path}: an early llama2.c tokenizer.bin, without scores, which cannot encode; make "
            f"it again from its tokenizer.model: {command}"
        )
    early = _first_piece_at(content, 4)
    longest = _LONGEST_PIECE if early else struct.unpack_from("<I", content)[0]
    pieces: list[Piece] = []
    offset = 0 if early else 4
    while offset < len(content):
        piece, offset = _read_piece(content, offset, longest, len(pieces), path)
        pieces.append(piece)
    if len(pieces) <= END:
        raise FormatError(f"{path}: has {len(pieces)} pieces, expected more than the 3 marks")
    return tokenizer_of(pieces, adds_space=True, source=str(path))


def _read_piece(
    content: bytes, offset: int, longest: int, token: int, path: Path
) -> tuple[Piece, int]:
    begin = offset + 8
    if begin > len(content):
        raise FormatError(f"{path}: ends inside the header of piece {token}")
    score, length = struct.unpack_from("<fi", content, offset)
    if not 0 <= length <= longest:
        raise FormatError(f"{path}: length of piece {token} is {length}, expected 0 to {longest}")
    if begin + length > len(content):
        raise FormatError(f"{path}: ends inside piece {token}")
    if score != score:
        raise FormatError(f"{path}: score of piece {token} is not a number")
    try:
        text = content[begin : begin + length].decode()
    except UnicodeDecodeError as error:
        raise FormatError(f"{path}: piece {token} is not UTF-8") from error
    if token > END and text in ("", _unused_text(token)):
        return Piece(padding_text(token), 0.0, Kind.UNUSED), begin + length
    text = _MARKS.get(token) or with_marks(text)
    return Piece(text, score, kind_at(token, text)), begin + length
