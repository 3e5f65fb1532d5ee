"""Text made safe for a terminal: it can only be read."""

import re
from typing import IO


def visible(text: str) -> str:
    """The text with control characters replaced, one for one, by pictures of them; a newline
    stays, a tab becomes a space."""
    return _CONTROL.sub(_picture, text)


def one_line(text: str) -> str:
    """The same with line breaks replaced too: for an error or a note, which is one line."""
    return visible(text).replace("\n", "\u240a")


def write_story(stream: IO[str], text: str) -> None:
    """Write text from a model or a file: as it is, but on a terminal with control characters other
    than tab and newline replaced."""
    if stream.isatty():
        text = "\t".join(map(visible, text.split("\t")))
    stream.write(text)


_CONTROL = re.compile(
    r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def _picture(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code == 0x09:
        return " "
    if code < 0x20:
        return chr(0x2400 + code)
    return "\u2421" if code == 0x7F else "\ufffd"
