"""What run.c and runq.c of karpathy/llama2.c do with tokenizer.bin, restated step by step from
build_tokenizer, encode, decode and safe_printf (the two programs share them)."""

import re
import struct
from itertools import pairwise
from typing import NamedTuple

LEAST_MERGED = -1e10


class Vocabulary(NamedTuple):
    """What build_tokenizer fills."""

    pieces: list[bytes]
    scores: list[float]


def build_tokenizer(content: bytes, vocab_size: int) -> Vocabulary:
    """Every fread has to give one element: of a piece of no bytes it gives none."""
    place = 4
    pieces, scores = [], []
    (longest,) = struct.unpack_from("<I", content)
    for _ in range(vocab_size):
        score, size = struct.unpack_from("<fi", content, place)
        piece = content[place + 8 : place + 8 + size]
        if size < 1 or len(piece) != size:
            raise ValueError("failed read")
        if size > longest:
            raise ValueError("longer than the buffer of two pieces")
        pieces.append(piece.partition(b"\0")[0])  # a C string
        scores.append(score)
        place += 8 + size
    return Vocabulary(pieces, scores)


def encode(vocabulary: Vocabulary, text: str) -> list[int]:
    """The ids of a text, without BOS."""
    where = {piece: token for token, piece in reversed(list(enumerate(vocabulary.pieces)))}
    tokens = [where[b" "]] if text else []
    for character in text:
        own = where.get(character.encode())
        tokens += [own] if own is not None else [byte + 3 for byte in character.encode()]
    while True:
        best, best_token, best_place = LEAST_MERGED, -1, -1
        for place, pair in enumerate(pairwise(tokens)):
            token = where.get(b"".join(vocabulary.pieces[part] for part in pair), -1)
            if token != -1 and vocabulary.scores[token] > best:
                best, best_token, best_place = vocabulary.scores[token], token, place
        if best_place == -1:
            return tokens
        tokens[best_place : best_place + 2] = [best_token]


def printed(vocabulary: Vocabulary, before: int, token: int) -> bytes:
    """What is written for a token that follows another."""
    piece = vocabulary.pieces[token]
    if before == 1 and piece.startswith(b" "):
        piece = piece[1:]
    if found := re.match(rb"<0x([0-9A-Fa-f]{1,2})", piece):  # sscanf "<0x%02hhX>", 1 converted
        piece = bytes([int(found[1], 16)]).partition(b"\0")[0]
    if len(piece) == 1 and not (32 <= piece[0] < 127 or piece in b"\t\n\v\f\r"):
        return b""
    return piece
