"""Byte-level BPE, the tokenizer of Llamas since 2024, through the `tokenizers` library.

Every string of UTF-8 has a spelling, and every piece its bytes: nothing is lost. The file is
transformers' tokenizer.json, cut down to what decides the ids; its post-processor puts the
boundary in front of a text, and names the mark that bounds a forward story beside it.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from mlx_rev.errors import DataError
from mlx_rev.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    import tokenizers

_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)"
_LLAMA_3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_DEFAULT = (r"[\p{P}\$\+<=>\^~\|]+", _GPT2, r"\p{N}+", r"[0-9][0-9][0-9]")


def _byte_level(*, use_regex: bool) -> dict[str, Any]:
    return {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": True,
        "use_regex": use_regex,
    }


def _split(*patterns: str) -> dict[str, Any]:
    """Text between matches of each pattern in turn, and the matches, are merged apart."""
    splits = [
        {"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": False}
        for regex in patterns
    ]
    steps = [*splits, _byte_level(use_regex=False)]
    return {"type": "Sequence", "pretokenizers": steps}


PRE_TOKENIZERS: Mapping[str, Mapping[str, Any]] = {
    "smollm": {
        "type": "Sequence",
        "pretokenizers": [
            {"type": "Digits", "individual_digits": True},
            _byte_level(use_regex=True),
        ],
    },
    "llama-bpe": _split(_LLAMA_3),
    "gpt-2": _byte_level(use_regex=True),
    "default": _split(*_DEFAULT),
}
"""How a text is split before pieces are merged, by llama.cpp's names (llama-vocab.cpp), as
tokenizer.json has it."""
WHOLE_WORDS = frozenset({"llama-bpe"})
"""Those with which a word that is a piece is not merged from smaller ones."""


@dataclass(frozen=True)
class Vocabulary:
    """All that decides which ids a text has."""

    pieces: tuple[str, ...]
    """By id, a byte as a character of GPT-2's; marks as they are called."""
    merges: tuple[tuple[str, str], ...]
    """The first one goes first."""
    marks: frozenset[int]
    """Ids that stand for no text, and that no text has."""
    pre_tokenizer: Mapping[str, Any] = field(hash=False)
    """As in tokenizer.json."""
    whole_words: bool
    """Whether a word that is a piece is not merged from smaller ones (`ignore_merges`)."""
    boundary: int
    forward_boundary: int
    verbatim: frozenset[int] = frozenset()
    """Ids of pieces that are found in a text before anything is merged."""

    @property
    def pre_tokenizer_name(self) -> str | None:
        """llama.cpp's name of how a text is split; None where it has none."""
        for name, steps in PRE_TOKENIZERS.items():
            if steps == self.pre_tokenizer and self.whole_words == (name in WHOLE_WORDS):
                return name
        return None


class ByteLevel(Tokenizer):
    """A byte-level BPE vocabulary.

    Raises DataError where a byte has no piece, a merge makes none, or a boundary is no mark.
    """

    file_name: ClassVar[str] = "tokenizer.json"
    adds_space = False

    def __init__(self, vocabulary: Vocabulary, *, source: str = "tokenizer") -> None:
        self.vocabulary, self.source = vocabulary, source
        self.boundary = vocabulary.boundary
        self.forward_boundary = vocabulary.forward_boundary
        _check(vocabulary, source)
        self.content = (json.dumps(_described(vocabulary), ensure_ascii=False) + "\n").encode()

    @property
    def vocab_size(self) -> int:
        """How many ids there are."""
        return len(self.vocabulary.pieces)

    @cached_property
    def fingerprint(self) -> str:
        """sha256 of the file."""
        return hashlib.sha256(self.content).hexdigest()

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each text; the library splits the work among threads."""
        for text in texts:
            self.check(text)
        encoded = self._library.encode_batch_fast(list(texts), add_special_tokens=False)
        return [list(each.ids) for each in encoded]

    def encode_inside(self, text: str) -> list[int]:
        """The ids of `text` where it follows other text directly: those it has anywhere."""
        return self.encode(text)

    @cached_property
    def piece_bytes(self) -> tuple[bytes, ...]:
        """What each id adds to the text, in UTF-8."""
        known = self.vocabulary
        return tuple(
            b""
            if token in known.marks
            else piece.encode()
            if token in known.verbatim
            else spelled(piece)
            for token, piece in enumerate(known.pieces)
        )

    @cached_property
    def _library(self) -> "tokenizers.Tokenizer":
        from tokenizers import Tokenizer as Library

        try:
            made = Library.from_str(self.content.decode())
        except Exception as error:  # the library raises nothing more particular
            raise DataError(f"{self.source}: not a byte-level BPE vocabulary ({error})") from error
        made.encode_special_tokens = True  # a mark's name in a story is text
        return made


def _check(known: Vocabulary, source: str) -> None:
    """Raise DataError where not every text could be spelled, or no story bounded."""
    if len(set(known.pieces)) != len(known.pieces):
        raise DataError(f"{source}: has a piece twice; expected each once")
    missing = [byte for byte in range(256) if BYTES[byte] not in known.pieces]
    if missing:
        raise DataError(
            f"{source}: has no piece for the byte 0x{missing[0]:02X}, so some texts have no "
            "spelling; expected one for each of the 256 bytes"
        )
    for what, token in (("beginning", known.boundary), ("end", known.forward_boundary)):
        if token not in known.marks:
            raise DataError(
                f"{source}: its {what}-of-text id is {token}, expected a mark: one of "
                f"{', '.join(map(str, sorted(known.marks)[:8])) or 'none, it has no marks'}"
            )
    pieces = set(known.pieces)
    for left, right in known.merges:
        if not {left, right, left + right} <= pieces:
            raise DataError(f"{source}: merges {left!r} and {right!r}, which make no piece")
    for token, piece in enumerate(known.pieces):
        plain = token not in known.marks and token not in known.verbatim
        if plain and not (piece and _BYTE_OF.keys() >= set(piece)):
            raise DataError(f"{source}: piece {token}, {piece!r}, does not stand for bytes")


def _described(known: Vocabulary) -> dict[str, Any]:
    """The content of tokenizer.json."""
    pieces = known.pieces
    names = [pieces[known.boundary], pieces[known.forward_boundary]]
    ids = dict(zip(names, (known.boundary, known.forward_boundary), strict=True))
    begin = {"SpecialToken": {"id": names[0], "type_id": 0}}
    first, second = ({"Sequence": {"id": name, "type_id": 0}} for name in "AB")
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            _added(token, pieces[token], special=token in known.marks)
            for token in sorted(known.marks | known.verbatim)
        ],
        "normalizer": None,
        "pre_tokenizer": known.pre_tokenizer,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [begin, first],
            "pair": [begin, first, begin, second],
            "special_tokens": {
                name: {"id": name, "ids": [token], "tokens": [name]} for name, token in ids.items()
            },
        },
        "decoder": _byte_level(use_regex=True),
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": known.whole_words,
            "vocab": {piece: token for token, piece in enumerate(pieces)},
            "merges": [list(merge) for merge in known.merges],
        },
    }


def _added(token: int, piece: str, *, special: bool) -> dict[str, Any]:
    return {
        "id": token,
        "content": piece,
        "single_word": False,
        "lstrip": False,
        "rstrip": False,
        "normalized": False,
        "special": special,
    }


def _characters() -> Iterator[str]:
    """A visible character for each byte (GPT-2's encoder.py, bytes_to_unicode): itself where it is
    visible in Latin-1, and the rest from U+0100 on."""
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
