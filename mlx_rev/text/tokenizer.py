"""Texts to ids and back: what a tokenizer of any kind does."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from copy import copy
from pathlib import Path
from typing import ClassVar, Self

from mlx_rev import files
from mlx_rev.errors import DataError

BOUNDARY = 1
"""The id before every story and after the last in a SentencePiece vocabulary: BOS, as in
llama2.c."""
FORWARD_BOUNDARY = 2
"""The same for a story read forwards by a model that also reads backwards: EOS."""


class Tokenizer(ABC):
    """A vocabulary whose decode(encode(text)) is text, as far as it can be."""

    file_name: ClassVar[str]
    """What its file is called in a run or a model folder."""
    source: str
    """Where it came from, for messages."""
    boundary: int
    """The id that bounds the stories of a model of one direction."""
    forward_boundary: int
    """The id that bounds the forward stories of a model that was trained on both."""
    end_of_text: int
    """The id with which a forward model by others closes a text."""
    unknown: int | None = None
    """The id of what could not be encoded, where there is one: no story is written with it."""

    def ending_with(self, token: int) -> Self:
        """The same tokenizer, for a model by others that closes a text with this id."""
        made = copy(self)
        made.end_of_text = token
        return made

    @property
    @abstractmethod
    def refused(self) -> str | None:
        """The characters that `check` refuses, none of them in ASCII, besides lone surrogates; None
        where it is only known text by text."""

    @property
    @abstractmethod
    def adds_space(self) -> bool:
        """Whether a space is put in front of every text (SentencePiece's dummy prefix)."""

    @property
    @abstractmethod
    def content(self) -> bytes:
        """Its file."""

    @property
    @abstractmethod
    def vocab_size(self) -> int:
        """How many ids there are."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """sha256 of all that decides which ids a text has."""

    @property
    @abstractmethod
    def piece_bytes(self) -> tuple[bytes, ...]:
        """What each id adds to the text, in UTF-8; nothing for marks."""

    @property
    def cuts(self) -> str:
        """Those of space and newline in front of which a text may be cut after any character that
        is no white space: the ids of the whole are those of both parts. "" where none is known."""
        return ""

    @abstractmethod
    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each text, without boundaries; the work is split among threads.

        Raises DataError for what cannot be encoded.
        """

    @abstractmethod
    def encode_inside(self, text: str) -> list[int]:
        """The ids of `text` where it follows other text directly, with no space added in front."""

    def check(self, text: str) -> None:
        """Raise DataError where `text` could not come back; characters count from 1."""
        check_unicode(text)

    def encode(self, text: str) -> list[int]:
        """The ids of `text`, without boundaries. Raises DataError for what cannot be encoded."""
        return self.encode_batch([text])[0]

    def encode_after_space(self, text: str) -> list[int]:
        """The ids of `text` where it follows a space, that space included."""
        return self.encode(text if self.adds_space else f" {text}")

    def decode(self, ids: Sequence[int]) -> str:
        """The text of `ids`; boundaries vanish, bytes that are not UTF-8 become U+FFFD."""
        content = b"".join(map(self.piece_bytes.__getitem__, ids))
        return self.without_added_space(content).decode(errors="replace")

    def without_added_space(self, content: bytes) -> bytes:
        """`content`, the bytes of a whole text's pieces, as it was before encoding."""
        return content[1:] if self.adds_space and content.startswith(b" ") else content

    def save(self, path: Path) -> None:
        """Write its file, atomically."""
        files.write_bytes(path, self.content)


def read_tokenizer(path: Path) -> bytes:
    """The content of a tokenizer's file. Raises RevError."""
    try:
        return files.read_bytes(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error


def check_unicode(text: str) -> None:
    """Raise DataError for what is no valid Unicode; characters count from 1."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"the text has a lone surrogate at character {error.start + 1}; expected valid Unicode"
        ) from error
