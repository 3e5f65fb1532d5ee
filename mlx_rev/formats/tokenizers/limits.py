"""Which tokenizers other formats can hold: SentencePiece can do more than tokenizer.bin, GGUF and
tokenizer.json can say."""

from collections.abc import Iterator

from mlx_rev.errors import FormatError
from mlx_rev.formats.tokenizers.sentencepiece_model import FIRST_BYTE, Kind, is_bpe, parsed
from mlx_rev.text.tokenizer import Tokenizer


def check_exportable(tokenizer: Tokenizer, source: str, *, finds_bytes: bool = False) -> None:
    """Raise FormatError if tokenizer.bin, tokenizer.json or GGUF would encode differently.

    `finds_bytes` is for a format that looks the byte pieces up rather than counting from 3.
    """
    if not is_bpe(tokenizer):
        raise FormatError(
            f"{source}: its tokenizer is not a BPE model, and no other kind can be written; train "
            "one with mlx-rev prepare, or convert --to run"
        )
    if not finds_bytes and not _bytes_in_place(tokenizer):
        raise FormatError(
            f"{source}: its tokenizer does not have the byte pieces at ids {FIRST_BYTE} to "
            f"{FIRST_BYTE + 255}, where run.c and tokenizer.json expect them; convert --to gguf"
        )


def is_exportable(tokenizer: Tokenizer) -> bool:
    """Whether `check_exportable` passes."""
    return is_bpe(tokenizer) and _bytes_in_place(tokenizer)


def differences(tokenizer: Tokenizer) -> Iterator[str]:
    """What the tokenizer does to a text and other programs do not, a sentence each."""
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
        yield "the tokenizer matches some pieces before it merges any, which other programs do not"


def _bytes_in_place(tokenizer: Tokenizer) -> bool:
    pieces = parsed(tokenizer).pieces[FIRST_BYTE : FIRST_BYTE + 256]
    expected = [f"<0x{byte:02X}>" for byte in range(256)]
    return [piece.piece for piece in pieces if piece.type == Kind.BYTE] == expected
