"""Byte-level BPE, the tokenizer of Llamas since 2024, through the `tokenizers` library.

A text is spelled byte by byte and comes back byte by byte: what has no spelling is refused.
"""

import hashlib
import json
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

from mlx_rev.errors import DataError
from mlx_rev.text.byte_level_json import described
from mlx_rev.text.byte_level_vocabulary import Vocabulary, check, spelled
from mlx_rev.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    import tokenizers

_IN_UTF8 = bytes({*range(0xF5)} - {0xC0, 0xC1})


class ByteLevel(Tokenizer):
    """A byte-level BPE vocabulary.

    Raises DataError where a piece is there twice, a merge makes none, or a boundary is no mark.
    """

    file_name: ClassVar[str] = "tokenizer.json"
    adds_space = False

    def __init__(self, vocabulary: Vocabulary, *, source: str = "tokenizer") -> None:
        check(vocabulary, source)
        self.vocabulary, self.source = vocabulary, source
        self.boundary = vocabulary.boundary
        self.forward_boundary = self.end_of_text = vocabulary.forward_boundary

    @cached_property
    def content(self) -> bytes:
        """The tokenizer.json that is saved."""
        return (json.dumps(described(self.vocabulary), ensure_ascii=False) + "\n").encode()

    @property
    def vocab_size(self) -> int:
        """How many ids there are."""
        return len(self.vocabulary.pieces)

    @cached_property
    def fingerprint(self) -> str:
        """sha256 of what is saved: the same wherever the vocabulary was read from."""
        return hashlib.sha256(self.content).hexdigest()

    @cached_property
    def cuts(self) -> str:
        """Known for the splits that llama.cpp has names for: none of their patterns goes on over a
        space, Llama 3's does over newlines. A mark is text, a piece found before may be longer."""
        known = self.vocabulary
        if any(
            character.isspace() for token in known.verbatim for character in known.pieces[token]
        ):
            return ""
        return {None: "", "llama-bpe": " "}.get(known.pre_tokenizer_name, " \n")

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each text; the library splits the work among threads."""
        for text in texts:
            self.check(text)
        encoded = self._library.encode_batch_fast(list(texts), add_special_tokens=False)
        return [list(each.ids) for each in encoded]

    def check(self, text: str) -> None:
        """Raise DataError where `text` could not come back; characters count from 1."""
        super().check(text)
        known = self.vocabulary.single_bytes
        if not text.encode().translate(None, known):
            return
        place, character = next(
            (place, character)
            for place, character in enumerate(text, 1)
            if character.encode().translate(None, known)
        )
        raise DataError(
            f"the text has U+{ord(character):04X} at character {place}, which this vocabulary "
            "cannot spell; leave it out, or use another tokenizer"
        )

    @property
    def refused(self) -> str | None:
        """Empty if every byte of UTF-8 has a piece; otherwise None, and only `check` knows."""
        return None if _IN_UTF8.translate(None, self.vocabulary.single_bytes) else ""

    def encode_inside(self, text: str) -> list[int]:
        """The ids of `text` where it follows other text directly: those that it has anywhere."""
        return self.encode(text)

    @cached_property
    def piece_bytes(self) -> tuple[bytes, ...]:
        """What each id adds to the text, in UTF-8."""
        return tuple(self._bytes_of(token) for token in range(self.vocab_size))

    def _bytes_of(self, token: int) -> bytes:
        piece = self.vocabulary.pieces[token]
        if token in self.vocabulary.marks:
            return b""
        return piece.encode() if token in self.vocabulary.verbatim else spelled(piece)

    @cached_property
    def _library(self) -> "tokenizers.Tokenizer":
        from tokenizers import Tokenizer as Library

        try:
            made = Library.from_str(self.content.decode())
        except Exception as error:  # the library raises nothing more particular
            raise DataError(f"{self.source}: not a byte-level BPE vocabulary ({error})") from error
        made.encode_special_tokens = True  # the name of a mark in a story is text
        return made
