"""Which tokenizers other formats can hold: each kind can do more than they can say."""

from collections.abc import Iterator

from mlx_rev.errors import FormatError
from mlx_rev.formats.tokenizers.sentencepiece_model import FIRST_BYTE, Kind, is_bpe, parsed
from mlx_rev.text.byte_level import ByteLevel
from mlx_rev.text.byte_level_vocabulary import PRE_TOKENIZERS
from mlx_rev.text.sentencepiece import SentencePiece
from mlx_rev.text.tokenizer import Tokenizer


def check_bin(tokenizer: Tokenizer, source: str) -> SentencePiece:
    """The tokenizer, if run.c with a tokenizer.bin encodes as it does. Raises FormatError."""
    if not isinstance(tokenizer, SentencePiece):
        raise FormatError(
            f"{source}: its tokenizer is a byte-level BPE, which splits a text by a pattern before "
            "it merges bytes; run.c has no patterns and merges characters, so it would spell every "
            "prompt otherwise. Convert to mlx or gguf instead"
        )
    _check_bpe(tokenizer, source)
    _check_bytes(tokenizer, source)
    if not tokenizer.adds_space:
        raise FormatError(
            f"{source}: its tokenizer puts no space in front of a text; run.c always does, so it "
            "would spell every prompt otherwise. Convert to mlx or gguf instead"
        )
    return tokenizer


def check_json(tokenizer: Tokenizer, source: str) -> None:
    """Raise FormatError if tokenizer.json would encode differently."""
    if isinstance(tokenizer, SentencePiece):
        _check_bpe(tokenizer, source)
        _check_bytes(tokenizer, source)


def check_gguf(tokenizer: Tokenizer, source: str) -> None:
    """Raise FormatError if GGUF would encode differently; it looks the byte pieces up rather than
    counting from 3."""
    if isinstance(tokenizer, SentencePiece):
        _check_bpe(tokenizer, source)
    elif isinstance(tokenizer, ByteLevel) and tokenizer.vocabulary.pre_tokenizer_name is None:
        raise FormatError(
            f"{source}: its tokenizer splits a text in a way that GGUF has no name for here "
            f"(known are {', '.join(PRE_TOKENIZERS)}); convert --to mlx"
        )


def is_exportable(tokenizer: Tokenizer) -> bool:
    """Whether `check_json` passes."""
    if not isinstance(tokenizer, SentencePiece):
        return True
    return is_bpe(tokenizer) and _bytes_in_place(tokenizer)


def differences(tokenizer: Tokenizer) -> Iterator[str]:
    """What the tokenizer does to a text and other programs do not, a sentence each."""
    if not isinstance(tokenizer, SentencePiece):
        return
    spec = parsed(tokenizer).normalizer_spec
    if spec.precompiled_charsmap:
        yield (
            f"the tokenizer normalises text ({spec.name or 'rules of its own'}), which other "
            "programs do not; give them normalised text"
        )
    if spec.remove_extra_whitespaces:
        yield (
            "the tokenizer drops spaces at the ends and merges repeated ones, which other programs "
            "do not; give them text without such spaces"
        )
    if any(piece.type == Kind.USER_DEFINED for piece in parsed(tokenizer).pieces):
        yield (
            "the tokenizer matches some pieces before it merges any, which run.c does not; mlx-lm "
            "and transformers see a space behind each"
        )


def _check_bpe(tokenizer: SentencePiece, source: str) -> None:
    if not is_bpe(tokenizer):
        raise FormatError(
            f"{source}: its tokenizer is not a BPE model, and no other kind can be written; train "
            "one with mlx-rev prepare, or convert --to run"
        )


def _check_bytes(tokenizer: SentencePiece, source: str) -> None:
    if not _bytes_in_place(tokenizer):
        raise FormatError(
            f"{source}: its tokenizer does not have the byte pieces at ids {FIRST_BYTE} to "
            f"{FIRST_BYTE + 255}, where run.c and tokenizer.json expect them; convert --to gguf"
        )


def _bytes_in_place(tokenizer: SentencePiece) -> bool:
    pieces = parsed(tokenizer).pieces[FIRST_BYTE : FIRST_BYTE + 256]
    expected = [f"<0x{byte:02X}>" for byte in range(256)]
    return [piece.piece for piece in pieces if piece.type == Kind.BYTE] == expected
