"""`mlx-rev wtac`: reverse the words of standard input, as the article's wtac does."""

import codecs
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import tyro

from mlx_rev.cli.flags import parse
from mlx_rev.errors import DataError
from mlx_rev.text import words
from mlx_rev.text.words import BYTE_ORDER_MARK, WordPattern
from mlx_rev.ui.visible import write_story


@dataclass(frozen=True, kw_only=True)
class WtacCommand:
    """Reverse the words and punctuation marks of standard input (UTF-8) to standard output. The
    same command restores the text. A final newline stays last."""

    lines: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Reverse each line by itself, as it arrives."""
    article: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Split words at combining marks, as the article does; for models with --reversal word."""


def main(arguments: Sequence[str], program: str) -> int:
    """Filter standard input to standard output. Raises DataError for input that is not UTF-8."""
    command = parse(WtacCommand, arguments, program)
    pattern = words.article() if command.article else words.with_marks()
    texts = sys.stdin.buffer if command.lines else [sys.stdin.buffer.read()]
    for number, content in enumerate(texts, start=1):
        what = f"line {number}" if command.lines else "text"
        mark = BYTE_ORDER_MARK if number == 1 else ""
        result = _reversed(content, what, pattern, mark)
        if sys.stdout.isatty():
            write_story(sys.stdout, result.decode())
            sys.stdout.flush()
        else:
            sys.stdout.buffer.write(result)
            sys.stdout.buffer.flush()
    return 0


def _reversed(content: bytes, what: str, pattern: WordPattern, mark: str) -> bytes:
    """`mark` at the start is not text."""
    body = content.removesuffix(b"\n")
    try:
        text = codecs.decode(body, "utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"standard input, {what}: byte {error.start} is not UTF-8; convert it with iconv"
        ) from error
    return pattern.reverse(text.removeprefix(mark)).encode() + content[len(body) :]
