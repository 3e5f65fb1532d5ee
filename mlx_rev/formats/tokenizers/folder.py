"""What a model folder keeps of its tokenizer."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from mlx_rev import fields
from mlx_rev.errors import FormatError
from mlx_rev.fields import Fields
from mlx_rev.formats.tokenizers.limits import is_exportable
from mlx_rev.formats.tokenizers.sentencepiece_model import padded as padded_sentencepiece
from mlx_rev.formats.tokenizers.sentencepiece_model import padding_text
from mlx_rev.formats.tokenizers.tokenizer_bin import pieces_fingerprint
from mlx_rev.formats.tokenizers.tokenizer_json import (
    is_sentencepiece,
    tokenizer_config,
    tokenizer_from_json,
    tokenizer_json,
)
from mlx_rev.text.byte_level import ByteLevel
from mlx_rev.text.byte_level_json import is_byte_level, vocabulary_of
from mlx_rev.text.load import load_tokenizer
from mlx_rev.text.sentencepiece import SentencePiece
from mlx_rev.text.tokenizer import Tokenizer

TOKENIZER_JSON = "tokenizer.json"


_OWN_HASH, _JSON_HASH = "tokenizer_sha256", "tokenizer_json_sha256"
"""What config.json calls the fingerprint of the tokenizer, and that of a SentencePiece model's
pieces as they come back from its tokenizer.json."""


def write(folder: Path, tokenizer: Tokenizer, end_of_text: int) -> dict[str, str]:
    """Write its own file and, where that is not it, those that transformers reads; returns what
    config.json says of them.

    A program that generates stops at the id `end_of_text`.
    """
    hashes = {_OWN_HASH: tokenizer.fingerprint}
    (folder / tokenizer.file_name).write_bytes(tokenizer.content)
    if isinstance(tokenizer, SentencePiece) and is_exportable(tokenizer):
        content = tokenizer_json(tokenizer)
        hashes[_JSON_HASH] = pieces_fingerprint(tokenizer_from_json(Fields(content, "")))
        write_json(folder / TOKENIZER_JSON, content)
        write_json(folder / "tokenizer_config.json", tokenizer_config(tokenizer, end_of_text))
    if isinstance(tokenizer, ByteLevel):
        pieces = tokenizer.vocabulary.pieces
        config = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": pieces[tokenizer.boundary],
            "eos_token": pieces[end_of_text],
            "clean_up_tokenization_spaces": False,
        }
        write_json(folder / "tokenizer_config.json", config)
    return hashes


def read(folder: Path, described: Fields) -> Tokenizer | None:
    """The tokenizer.model in the folder, or else what its tokenizer.json says; None without either.

    `described` is config.json. Raises FormatError for one that is not the model's.
    """
    hashes = described.object("mlx_rev")
    expected = hashes.text(_OWN_HASH, "")
    path = folder / SentencePiece.file_name
    json_path = folder / TOKENIZER_JSON
    if path.is_file():
        tokenizer = load_tokenizer(path)
        _check(tokenizer.fingerprint, expected, tokenizer, path)
        return tokenizer
    if json_path.is_file():
        content = fields.read_json(json_path)
        if is_byte_level(content):
            boundary = described.integer("bos_token_id") if described.has("bos_token_id") else None
            known = vocabulary_of(content, boundary, end_of_text(described))
            tokenizer = ByteLevel(known, source=str(json_path))
            _check(tokenizer.fingerprint, expected, tokenizer, json_path)
            return tokenizer
        if is_sentencepiece(content):
            rebuilt = tokenizer_from_json(content)
            _check(pieces_fingerprint(rebuilt), hashes.text(_JSON_HASH, ""), rebuilt, json_path)
            return rebuilt
    if expected:
        raise FormatError(
            f"{folder}: neither {path.name} nor {json_path.name} is there; expected the tokenizer "
            f"with sha256 {expected[:12]}…. Put it there, or name it with --tokenizer"
        )
    return None


def end_of_text(described: Fields) -> int | None:
    """The id that ends a text, as a config.json says; of several, the first."""
    value = described.values.get("eos_token_id")
    if isinstance(value, list) and value:
        described = Fields({"eos_token_id": value[0]}, described.source)
    return described.integer("eos_token_id") if described.has("eos_token_id") else None


def _check(found: str, expected: str, tokenizer: Tokenizer, path: Path) -> None:
    """Raise FormatError unless the tokenizer at `path` is the one that is expected, where that is
    known."""
    if expected and found != expected:
        raise FormatError(
            f"{path}: its sha256 is {found[:12]}…, the model was trained with {expected[:12]}…; "
            f"put the right {tokenizer.file_name} there, or name it with --tokenizer"
        )


def padded(tokenizer: Tokenizer, size: int) -> Tokenizer:
    """The tokenizer with unused ids up to `size`: many models have more rows than pieces, and these
    ids then have a place and no text."""
    if isinstance(tokenizer, SentencePiece):
        return padded_sentencepiece(tokenizer, size)
    if not isinstance(tokenizer, ByteLevel):
        return tokenizer
    known = tokenizer.vocabulary
    added = range(len(known.pieces), size)
    pieces = (*known.pieces, *map(padding_text, added))
    whole = replace(known, pieces=pieces, marks=known.marks | set(added))
    return ByteLevel(whole, source=tokenizer.source)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON for people to look at."""
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
