"""SentencePiece: train, load, encode, decode, fingerprint."""

import hashlib
import io
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import sentencepiece

from mlx_rev.errors import DataError
from mlx_rev.text.tokenizer import (
    BOUNDARY,
    FORWARD_BOUNDARY,
    Tokenizer,
    check_unicode,
    read_tokenizer,
)

SPACE_MARK = "▁"
"""SentencePiece writes a space as this character, so no text may contain it."""
SPECIAL_PIECES = 259
"""Three marks and a piece for every byte: what a vocabulary holds besides characters and words."""
TRAINING_BYTES = 20_000_000
"""A vocabulary is learnt from at most this much text; more changes it little."""
_USER_DEFINED = 4
"""Of the types of pieces in sentencepiece_model.proto."""
_FEW = 10
"""Texts that are encoded in less time than it takes to start threads."""
_LONGEST_LINE = 1 << 20
"""Bytes of a line that SentencePiece learns from; it leaves out longer ones."""
_BYTES = 4
"""Of a character, at most."""
_SHORT = 20_000
"""Characters up to which the largest vocabulary is found by trying."""


class SentencePiece(Tokenizer):
    """A SentencePiece model.

    Built from the bytes of a .model file. Raises DataError if they are not a SentencePiece model,
    or one whose id 1 is not the beginning-of-sequence token.
    """

    file_name: ClassVar[str] = "tokenizer.model"
    boundary = BOUNDARY
    forward_boundary = FORWARD_BOUNDARY
    end_of_text = BOUNDARY
    unknown = 0
    refused = SPACE_MARK

    def __init__(self, content: bytes, *, source: str = "tokenizer") -> None:
        self._content, self.source = content, source
        if not content:  # SentencePiece takes that for a model, and prints what is wrong with it.
            raise DataError(f"{source}: is empty; expected a .model file or a tokenizer.json")
        try:
            self._processor = sentencepiece.SentencePieceProcessor(model_proto=content)
            self._processor.id_to_piece(list(range(self._processor.vocab_size())))
        except (RuntimeError, UnicodeDecodeError) as error:  # the latter from a damaged piece
            raise DataError(
                f"{source}: not a SentencePiece model; expected a .model file"
            ) from error
        if self._processor.bos_id() != BOUNDARY:
            raise DataError(
                f"{source}: its beginning-of-sequence id is {self._processor.bos_id()}, expected "
                f"{BOUNDARY}; train one with mlx-rev prepare, or use Llama's tokenizer.model"
            )

    @classmethod
    def load(cls, path: Path) -> "SentencePiece":
        """Read a .model file. Raises RevError."""
        return cls(read_tokenizer(path), source=str(path))

    @classmethod
    def train(cls, texts: Iterable[str], vocab_size: int) -> "SentencePiece":
        """Learn `vocab_size` BPE pieces from `texts`, in the order in which the model reads them.

        The settings are llama2.c's (tinystories.py), but white space is kept as it stands.
        Raises DataError if the texts are too short for so many pieces, or have more characters.
        """
        lines = _Kept(_lines(texts))
        try:
            return cls(_learnt(lines, vocab_size))
        except (RuntimeError, OSError) as error:
            if lines.error is not None:
                raise lines.error from None
            raise DataError(_why_not(str(error), lines, vocab_size)) from error

    @property
    def content(self) -> bytes:
        """The .model file."""
        return self._content

    @cached_property
    def fingerprint(self) -> str:
        """sha256 of the model file."""
        return hashlib.sha256(self.content).hexdigest()

    @cached_property
    def vocab_size(self) -> int:
        """How many ids there are."""
        return int(self._processor.vocab_size())

    @cached_property
    def adds_space(self) -> bool:
        """Whether a space is put in front of every text (SentencePiece's dummy prefix)."""
        return str(self._processor.normalize("a")).startswith(SPACE_MARK)

    @cached_property
    def cuts(self) -> str:
        """For BPE without a normaliser, a space where pieces have spaces only in front, and a
        newline where none has one beside other characters."""
        model = model_proto().ModelProto.FromString(self.content)
        trained, normalised = model.trainer_spec, model.normalizer_spec
        pieces = [piece.piece for piece in model.pieces]
        user_defined = [piece.piece for piece in model.pieces if piece.type == _USER_DEFINED]
        if (
            trained.model_type != model_proto().TrainerSpec.BPE
            or trained.treat_whitespace_as_suffix
            or normalised.precompiled_charsmap
            or not normalised.escape_whitespaces
            # What follows a space could not be encoded alone: the space would be dropped.
            or (normalised.remove_extra_whitespaces and not normalised.add_dummy_prefix)
            or SPACE_MARK not in pieces
            or any(re.search(rf"[\s{SPACE_MARK}]", piece) for piece in user_defined)
            or any(SPACE_MARK in piece.lstrip(SPACE_MARK) for piece in pieces)
        ):
            return ""
        # Without a piece of its own, a newline is <unk>, and one with what is <unk> beside it.
        alone = trained.byte_fallback or "\n" in pieces
        merged = any("\n" in piece and piece != "\n" for piece in pieces)
        return " \n" if alone and not merged else " "

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each text; SentencePiece splits the work among threads, if there is much."""
        for text in texts:
            self.check(text)
        if len(texts) < _FEW:
            return [self._processor.encode(text) for text in texts]
        ids: list[list[int]] = self._processor.encode(list(texts), num_threads=os.cpu_count() or 1)
        return ids

    def encode_inside(self, text: str) -> list[int]:
        """The ids of `text` where it follows other text directly, with no space added in front."""
        if not self.adds_space:
            return self.encode(text)
        return self.encode("\n" + text)[self._newline_length :]

    @cached_property
    def _newline_length(self) -> int:
        return len(self.encode("\n"))

    def check(self, text: str) -> None:
        """Raise DataError where `text` could not come back; characters count from 1."""
        check_encodable(text)

    @cached_property
    def piece_bytes(self) -> tuple[bytes, ...]:
        """What each id adds to the text, in UTF-8."""
        return tuple(self._bytes_of(token) for token in range(self.vocab_size))

    def _bytes_of(self, token: int) -> bytes:
        processor = self._processor
        piece = str(processor.id_to_piece(token))
        if processor.is_byte(token):
            return bytes([int(piece[1:-1], 16)])
        if processor.is_control(token) or processor.is_unused(token):
            return b""
        if processor.is_unknown(token):
            return " ⁇ ".encode()
        return piece.replace(SPACE_MARK, " ").encode()


def model_proto() -> Any:
    """The messages of sentencepiece_model.proto; made at run time, so no types are known."""
    from sentencepiece import sentencepiece_model_pb2

    return sentencepiece_model_pb2


def check_encodable(text: str) -> None:
    """Raise DataError where SentencePiece could not give `text` back; characters count from 1."""
    if SPACE_MARK in text:
        raise DataError(
            f"the text has U+2581 ({SPACE_MARK}) at character {text.index(SPACE_MARK) + 1}; "
            "SentencePiece uses it for a space: replace it, with _ for instance"
        )
    check_unicode(text)


def _learnt(lines: Iterator[str], vocab_size: int) -> bytes:
    """A .model file of `vocab_size` pieces. Raises RuntimeError if that is too few or too many."""
    writer = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=lines,
        model_writer=writer,
        model_type="bpe",
        vocab_size=vocab_size,
        character_coverage=1.0,
        byte_fallback=True,
        split_digits=True,
        allow_whitespace_only_pieces=True,
        remove_extra_whitespaces=False,
        normalization_rule_name="identity",
        unk_surface=r" ⁇ ",
        num_threads=os.cpu_count() or 1,
        max_sentence_length=_LONGEST_LINE,
        minloglevel=2,
    )
    return writer.getvalue()


def _why_not(said: str, lines: "_Kept", vocab_size: int) -> str:
    """Why a vocabulary could not be learnt, with the fewest and the most pieces that can be."""
    if not lines.characters:
        return "there is no text to learn a vocabulary from; give more text"
    few, many = re.search(r" vs (\d+)", said), re.search(r"<= (\d+)", said)
    if few is None and many is None:
        return f"no vocabulary of {vocab_size} pieces can be learnt from this text ({said})"
    least = int(few[1]) if few else len(lines.characters | {" "}) + SPECIAL_PIECES
    most = int(many[1]) if many else _most(lines.kept)
    expected = f"{least} to {most}" if most else f"{least} or more"
    if few:
        why = f"the text has {least - SPECIAL_PIECES} different characters, each of them a piece"
        advice = f"give --vocab-size {least} or more, or text with fewer characters"
    else:
        why = f"the text is too small for a vocabulary of {vocab_size} pieces"
        advice = "give more text, or a --vocab-size in that range"
    return f"{why}; {vocab_size} pieces were asked for, {expected} work: {advice}"


def _most(lines: Sequence[str]) -> int | None:
    """The largest vocabulary that a short text allows; None for a long one."""
    if sum(map(len, lines)) >= _SHORT:
        return None
    try:
        _learnt(iter(lines), 1 << 20)
    except RuntimeError as error:
        found = re.search(r"<= (\d+)", str(error))
        return int(found[1]) if found else None
    return None


class _Kept(Iterator[str]):
    """Passes lines on, and keeps their characters, the first lines and the error that ended them,
    instead of which SentencePiece raises one of its own."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines
        self._size = 0
        self.characters: set[str] = set()
        self.kept: list[str] = []
        self.error: Exception | None = None

    def __next__(self) -> str:
        try:
            line = next(self._lines)
        except StopIteration:
            raise
        except Exception as error:
            self.error = error
            raise
        self.characters.update(line)
        if self._size < _SHORT:
            self.kept.append(line)
            self._size += len(line)
        return line


def _lines(texts: Iterable[str]) -> Iterator[str]:
    """The lines of `texts`, as SentencePiece learns from them, up to TRAINING_BYTES."""
    size = 0
    for text in texts:
        check_encodable(text)
        for line in text.split("\n"):
            if line:
                yield from _short_enough(line)
                size += len(line.encode())
        if size > TRAINING_BYTES:
            return


def _short_enough(line: str) -> Iterator[str]:
    """A line, cut at spaces where it is too long to be learnt from. The space goes: SentencePiece
    puts one in front of what follows, as of every line."""
    if len(line.encode()) <= _LONGEST_LINE:
        yield line
        return
    most = _LONGEST_LINE // _BYTES
    while len(line) > most:
        space = line.rfind(" ", 1, most + 1)
        cut, rest = (space, space + 1) if space > 0 else (most, most)
        yield line[:cut]
        line = line[rest:]
    if line:
        yield line
