"""`mlx-rev wtac`: reverse the words of standard input, as the article's wtac does."""

import argparse
import codecs
import sys
from collections.abc import Sequence

from mlx_rev.errors import DataError
from mlx_rev.text import words
from mlx_rev.text.words import BYTE_ORDER_MARK, WordPattern
from mlx_rev.ui.visible import write_story


def main(arguments: Sequence[str], program: str) -> int:
    """Filter standard input to standard output. Raises DataError for input that is not UTF-8."""
    parser = argparse.ArgumentParser(
        prog=program,
        description="Reverse the words and punctuation marks of standard input (UTF-8) to "
        "standard output. The same command restores the text. A final newline stays last.",
    )
    parser.add_argument(
        "--lines", action="store_true", help="reverse each line by itself, as it arrives"
    )
    parser.add_argument(
        "--article",
        action="store_true",
        help="split words at combining marks, as the article does; for models with --reversal word",
    )
    command = parser.parse_args(arguments)
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
