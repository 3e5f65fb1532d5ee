"""What a byte-level BPE vocabulary consists of, and how it splits a text."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from mlx_rev.errors import DataError

_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)"
_LLAMA_3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_DEFAULT = (r"[\p{P}\$\+<=>\^~\|]+", _GPT2, r"\p{N}+", r"[0-9][0-9][0-9]")


def byte_level(*, use_regex: bool) -> dict[str, Any]:
    """The step of tokenizer.json that writes bytes as characters; with `use_regex`, after a split
    by GPT-2's pattern."""
    return {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": True,
        "use_regex": use_regex,
    }


def _split(*patterns: str) -> dict[str, Any]:
    """The matches of each pattern in turn, and what lies between them, are merged apart."""
    splits = [
        {"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": False}
        for regex in patterns
    ]
    return {"type": "Sequence", "pretokenizers": [*splits, byte_level(use_regex=False)]}


PRE_TOKENIZERS: Mapping[str, Mapping[str, Any]] = {
    "smollm": {
        "type": "Sequence",
        "pretokenizers": [
            {"type": "Digits", "individual_digits": True},
            byte_level(use_regex=True),
        ],
    },
    "llama-bpe": _split(_LLAMA_3),
    "gpt-2": byte_level(use_regex=True),
    "default": _split(*_DEFAULT),
}
"""How a text is split before pieces are merged, by llama.cpp's names (llama-vocab.cpp), as
tokenizer.json has it."""
WHOLE_WORDS = frozenset({"llama-bpe"})
"""Those in which a word that is a piece is not merged from smaller ones."""


@dataclass(frozen=True)
class Vocabulary:
    """All that decides which ids a text has."""

    pieces: tuple[str, ...]
    """By id, each byte as a character of BYTES; marks as they are called."""
    merges: tuple[tuple[str, str], ...]
    """The first goes first."""
    marks: frozenset[int]
    """Ids that stand for no text, and that no text has."""
    boundary: int
    """The mark that bounds the stories of a model of one direction."""
    forward_boundary: int
    """The mark that bounds the forward stories of a model that was trained on both."""
    pre_tokenizer: Mapping[str, Any] = field(hash=False)
    """As in tokenizer.json."""
    whole_words: bool = False
    """Whether a word that is a piece is not merged from smaller ones (`ignore_merges`)."""
    verbatim: frozenset[int] = frozenset()
    """Ids of pieces that are found in a text before anything is merged."""

    @cached_property
    def single_bytes(self) -> bytes:
        """The bytes that have a piece. Some vocabularies have none for control characters, of which
        a text can have none then."""
        plain = {piece for token, piece in enumerate(self.pieces) if token not in self.marks}
        return bytes(byte for byte in range(256) if BYTES[byte] in plain)

    @property
    def pre_tokenizer_name(self) -> str | None:
        """llama.cpp's name for how a text is split; None where it has none."""
        for name, steps in PRE_TOKENIZERS.items():
            if steps == self.pre_tokenizer and self.whole_words == (name in WHOLE_WORDS):
                return name
        return None


def check(known: Vocabulary, source: str) -> None:
    """Raise DataError for a vocabulary that makes no sense, or that bounds no story."""
    pieces = set(known.pieces)
    if len(pieces) != len(known.pieces):
        raise DataError(f"{source}: has a piece twice; expected each once")
    plain = set(range(len(known.pieces))) - known.marks - known.verbatim
    for token in sorted(plain):
        if not known.pieces[token] or not _BYTE_OF.keys() >= set(known.pieces[token]):
            raise DataError(
                f"{source}: piece {token}, {known.pieces[token]!r}, does not stand for bytes"
            )
    single = {known.pieces[token] for token in plain}
    for what, token in (("beginning", known.boundary), ("end", known.forward_boundary)):
        if token not in known.marks:
            marks = ", ".join(map(str, sorted(known.marks)[:8])) or "none, it has no marks"
            raise DataError(
                f"{source}: its {what}-of-text id is {token}, expected a mark, one of {marks}"
            )
    for left, right in known.merges:
        if not {left, right, left + right} <= single:
            raise DataError(f"{source}: merges {left!r} and {right!r}, which are or make no piece")


def _characters() -> Iterator[str]:
    """A visible character for each byte (GPT-2's encoder.py, bytes_to_unicode): itself where it is
    visible in Latin-1, and for the others one from U+0100 on."""
    others = 0x100
    for byte in range(256):
        if 0x21 <= byte <= 0x7E or 0xA1 <= byte <= 0xAC or byte >= 0xAE:
            yield chr(byte)
        else:
            yield chr(others)
            others += 1


BYTES: Sequence[str] = tuple(_characters())
"""How a piece writes each byte."""
_BYTE_OF = {character: byte for byte, character in enumerate(BYTES)}


def spelled(piece: str) -> bytes:
    """The bytes of a piece."""
    return bytes(_BYTE_OF[character] for character in piece)


def written(content: bytes) -> str:
    """The piece of these bytes."""
    return "".join(BYTES[byte] for byte in content)
