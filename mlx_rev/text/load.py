"""Open a tokenizer that was saved here, of either kind."""

from pathlib import Path

from mlx_rev.fields import parse_json
from mlx_rev.text.byte_level import ByteLevel
from mlx_rev.text.byte_level_json import vocabulary_of
from mlx_rev.text.sentencepiece import SentencePiece
from mlx_rev.text.tokenizer import Tokenizer, read_tokenizer


def load_tokenizer(path: Path) -> Tokenizer:
    """A SentencePiece .model, or the tokenizer.json of a byte-level BPE.

    Raises RevError.
    """
    return tokenizer_of(read_tokenizer(path), str(path))


def tokenizer_of(content: bytes, source: str) -> Tokenizer:
    """The tokenizer whose file has this content. Raises RevError."""
    if content.lstrip(_BLANK).startswith(b"{"):
        return ByteLevel(vocabulary_of(parse_json(content, source)), source=source)
    return SentencePiece(content, source=source)


_BLANK = b"\xef\xbb\xbf \t\r\n"
