"""llama2.c's tokenizer.bin (tokenizer.py, export) and the SentencePiece model it came from."""

import hashlib
import struct
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
from mlx_rev.text.tokenizer import BOUNDARY, Tokenizer

TOKENIZER_BIN = "tokenizer.bin"
NEIGHBOURS = (TOKENIZER_BIN, "tokenizer.model")
"""The files beside a .bin that keep its tokenizer: llama2.c's form, and SentencePiece's own."""
_MARKS = {BOUNDARY: "<s>", END: "</s>"}
_LONGEST_PIECE = 1 << 16


def to_bytes(tokenizer: Tokenizer) -> bytes:
    """The content of tokenizer.bin."""
    entries = []
    for token, piece in enumerate(pieces_of(tokenizer)):
        text = f"\n{_MARKS[token]}\n" if token in _MARKS else without_marks(piece.text)
        if piece.kind is Kind.UNUSED:
            text = (
                ""  # run.c needs as many pieces as the model has rows, and prints this as nothing
            )
        entries.append((piece.score, text.encode()))
    content = [struct.pack("<I", max(len(text) for _, text in entries))]
    content += [struct.pack("<fi", score, len(text)) + text for score, text in entries]
    return b"".join(content)


def pieces_fingerprint(tokenizer: Tokenizer) -> str:
    """sha256 of tokenizer.bin: the same for a tokenizer and for one rebuilt from its pieces."""
    return hashlib.sha256(to_bytes(tokenizer)).hexdigest()


def recognises(start: bytes) -> bool:
    """Whether a file that begins with `start` is a tokenizer.bin: its first piece is <unk>."""
    return start[8:17] == b"\5\0\0\0<unk>" and int.from_bytes(start[:4], "little") < _LONGEST_PIECE


def is_early(start: bytes) -> bool:
    """Whether a file that begins with `start` is a tokenizer.bin as llama2.c wrote it before it had
    a header, with or without scores."""
    return start[4:13] == b"\5\0\0\0<unk>" or start.startswith(b"\5\0\0\0<unk>")


def read(path: Path) -> Tokenizer:
    """Rebuild the SentencePiece model, so that it encodes and decodes as run.c does with the file.

    Raises FormatError for a damaged file and DataError where SentencePiece cannot use the pieces.
    """
    content = path.read_bytes()
    if len(content) < 4:
        raise FormatError(f"{path}: {len(content)} bytes; not a tokenizer.bin")
    longest = struct.unpack_from("<I", content)[0]
    pieces: list[Piece] = []
    offset = 4
    while offset < len(content):
        piece, offset = _read_piece(content, offset, longest, len(pieces), path)
        pieces.append(piece)
    if len(pieces) <= END:
        raise FormatError(f"{path}: has {len(pieces)} pieces; the marks alone are 3")
    return tokenizer_of(pieces, adds_space=True, source=str(path))


def _read_piece(
    content: bytes, offset: int, longest: int, token: int, path: Path
) -> tuple[Piece, int]:
    begin = offset + 8
    if begin > len(content):
        raise FormatError(f"{path}: ends inside the head of piece {token}")
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
    if not text and token > END:
        return Piece(padding_text(token), score, Kind.UNUSED), begin
    text = _MARKS.get(token) or with_marks(text)
    return Piece(text, score, kind_at(token, text)), begin + length
