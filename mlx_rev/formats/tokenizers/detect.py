"""Read a tokenizer of any kind, recognised by its content."""

from pathlib import Path

from mlx_rev import files
from mlx_rev.errors import FormatError
from mlx_rev.fields import read_json
from mlx_rev.formats.tokenizers import tokenizer_bin
from mlx_rev.formats.tokenizers.tokenizer_json import tokenizer_from_json
from mlx_rev.text.byte_level import ByteLevel
from mlx_rev.text.byte_level_json import is_byte_level, vocabulary_of
from mlx_rev.text.load import load_tokenizer
from mlx_rev.text.tokenizer import Tokenizer


def read_tokenizer(path: Path) -> Tokenizer:
    """A tokenizer from a SentencePiece .model, a tokenizer.json (byte-level BPE, or made from
    SentencePiece), or a llama2.c tokenizer.bin. Raises FormatError or DataError."""
    start = _start(path)
    if start.startswith(b"{"):
        content = read_json(path)
        if is_byte_level(content):
            return ByteLevel(vocabulary_of(content), source=str(path))
        return tokenizer_from_json(content)
    return tokenizer_bin.read(path) if _is_bin(start) else load_tokenizer(path)


def is_tokenizer(path: Path) -> bool:
    """Whether a file is a tokenizer.bin, SentencePiece .model or tokenizer.json, not a model."""
    if not path.is_file() or path.name == "config.json":
        return False
    start = _start(path)
    named = {".model": b"\n", ".json": b"{"}.get(path.suffix)
    return _is_bin(start) or start[:1] == named


def _is_bin(start: bytes) -> bool:
    return tokenizer_bin.recognises(start) or tokenizer_bin.is_early(start)


def _start(path: Path) -> bytes:
    try:
        with files.open_regular(path) as file:
            return file.read(64)
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror})") from error
