"""Stories in JSON: one value after another, a line each or not, or lists of them at the top.

A value is taken as soon as it is there whole, so that a file that is one list of a few gigabytes
needs no more memory than its longest entry.
"""

import codecs
import json
import re
from collections.abc import Iterator
from typing import Any, cast

from mlx_rev.data.sources.chunk import SEPARATOR, Chunk, State, encodable, parts
from mlx_rev.data.sources.content import LARGEST_STORY, Content, line_of, size_of_next
from mlx_rev.data.sources.problems import SKIP_ADVICE, Problems
from mlx_rev.data.sources.text import not_utf8
from mlx_rev.errors import DataError
from mlx_rev.text.words import BYTE_ORDER_MARK

TEXT_FIELDS = ("story", "text", "content")
"""Keys of an object's text when no field is named; the first one present counts."""

_SPACE = re.compile(rf"[\s{BYTE_ORDER_MARK}]*")
_NOT_UTF8 = re.compile("[\udc80-\udcff]")
"""What becomes of bytes that are not UTF-8, by the error handler surrogateescape."""
_TOP, _OPENED, _AFTER_ENTRY, _AFTER_COMMA, _IN_BAD_LINE = range(5)
"""Where in a file a place is: at the top, in a list there, or in a line that is passed over."""
_BEYOND = "JSON beyond what a story needs"
_TOO_LONG = f"no value ends within {LARGEST_STORY >> 20} MiB; check it, {SKIP_ADVICE}"
_PLAIN = {
    _TOP: re.compile(r"\s*(?=[{\"])"),
    _AFTER_ENTRY: re.compile(r"[ \t\n\r]*,[ \t\n\r]*(?=[{\"])"),
}
"""What is between a value and a next one that is an object or a string, by where they are."""
_NEAR = 16
"""Characters. An error so near the end of what was read may be for lack of the rest."""


def read_json(
    content: Content, field: str | None, start: State, problems: Problems
) -> Iterator[Chunk]:
    """The stories of a .json or .jsonl file, from `start` on: of each value at the top, or, where
    that is a list, of each entry in it. A value is a text or an object with the text in `field`, by
    default one of TEXT_FIELDS. Raises DataError.

    A state is the offset in bytes of what comes next, where that is, the number of entries before
    it in its list, and of stories in the file.
    """
    reader = _Reader(content, field, problems, start)
    while (stories := reader.read_on()) is not None:
        yield Chunk(stories, reader.state, content.consumed)


def no_text(entry: Any, field: str | None) -> str:
    """What to say of an entry without a text in the place where one was expected."""
    names = TEXT_FIELDS if field is None else (field,)
    expected = " or ".join(f'"{name}"' for name in names)
    if not isinstance(entry, dict):
        return f"has no story; expected a string or an object with {expected}"
    for name in names:
        if name in entry:
            return f'has no story; its "{name}" is not a string'
    others = ", ".join(repr(name)[:40] for name, text in entry.items() if isinstance(text, str))
    advice = f"; if it is in {others}, name that with --field" if others else ""
    return f"has no story; expected an object with {expected}{advice}"


class _MalformedError(Exception):
    """What stands at a place of the text is no JSON, and more of the file will not help."""

    def __init__(self, at: int, what: str) -> None:
        super().__init__(what)
        self.at = at


class _Reader:
    """Takes values off the front of a file, of which it holds what was not taken yet."""

    def __init__(
        self, content: Content, field: str | None, problems: Problems, start: State
    ) -> None:
        self._content = content
        self._names = TEXT_FIELDS if field is None else (field,)
        self._field = field
        self._problems = problems
        self._ascii_is_fine = problems.refused is not None
        self._offset, self._where, self._entries, self._number = start or (0, _TOP, 0, 0)
        content.seek(self._offset)
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._scan: Any = json.JSONDecoder().scan_once  # type: ignore[attr-defined]
        self._text = ""
        self._at = 0
        self._ended = self._gave_up = False

    @property
    def state(self) -> State:
        """Where the next value begins."""
        return (self._offset, self._where, self._entries, self._number)

    def read_on(self) -> list[str] | None:
        """The stories of the values that are whole with the next block; None after the last one.
        Raises DataError."""
        if self._ended or self._gave_up:
            return None
        try:
            new = self._content.read(size_of_next(len(self._text), LARGEST_STORY))
        except DataError as error:
            damage = error  # An except clause's own name ends with it.
            self._leave_rest(lambda: damage)
            return []
        self._ended = not new
        self._text += self._decoder.decode(new, final=self._ended)
        if self._where == _IN_BAD_LINE:
            self._pass_line()
        stories: list[str] = []
        while not self._gave_up:
            self._take_plain(stories)
            try:
                if (value := self._next()) is None:
                    break
            except _MalformedError as error:
                self._malformed(error)
            else:
                stories += self._stories(*value)
        if len(self._text) - self._at > LARGEST_STORY:
            self._too_long()
        self._offset = self._offset_of(self._at)
        self._text, self._at = self._text[self._at :], 0
        return stories

    def _take_plain(self, stories: list[str]) -> None:
        """Add the stories of the next values, up to one that is not as most are: an object or a
        string with a text in ASCII that is one story. This is only faster than `_next`."""
        if self._where not in _PLAIN or not self._ascii_is_fine:
            return
        text, at, scan, begins = self._text, self._at, self._scan, _PLAIN[self._where].match
        before = len(stories)
        while found := begins(text, at):
            try:
                value, end = scan(text, found.end())
            except (StopIteration, ValueError, RecursionError):
                break
            if type(value) is dict:
                for name in self._names:
                    if name in value:
                        value = value[name]
                        break
            if end == len(text) or type(value) is not str or not value.isascii():
                break
            if SEPARATOR in value or not (story := value.strip()):
                break
            stories.append(story)
            at = end
        self._at = at
        self._number += len(stories) - before
        self._entries += len(stories) - before

    def _next(self) -> tuple[Any, int] | None:
        """The next value and where it begins; None where it is not there whole."""
        text = self._text
        while True:
            at = cast(re.Match[str], _SPACE.match(text, self._at)).end()
            if at == len(text):
                if self._ended and self._where not in (_TOP, _IN_BAD_LINE):
                    raise _MalformedError(at, "a list does not end")
                return None
            self._at = at
            mark = text[at]
            if mark == "[" and self._where == _TOP:
                self._where, self._entries = _OPENED, 0
            elif mark == "]" and self._where in (_OPENED, _AFTER_ENTRY):
                self._where = _TOP
            elif self._where == _AFTER_ENTRY:
                if mark != ",":
                    raise _MalformedError(at, "Expecting ',' delimiter")
                self._where = _AFTER_COMMA
            else:
                break
            self._at = at + 1
        found = self._scanned(at)
        if found is None:
            return None
        value, self._at = found
        if self._where != _TOP:
            self._where = _AFTER_ENTRY
            self._entries += 1
        return value, at

    def _scanned(self, at: int) -> tuple[Any, int] | None:
        """The value at a place of the text and where it ends; None where more may belong to it."""
        text = self._text
        try:
            value, end = self._scan(text, at)
        except StopIteration as error:
            if not self._ended and len(text) - error.value < _NEAR:
                return None
            raise _MalformedError(error.value, "Expecting value") from error
        except json.JSONDecodeError as error:
            cut = error.msg.startswith("Unterminated string") or len(text) - error.pos < _NEAR
            if cut and not self._ended:
                return None
            raise _MalformedError(error.pos, error.msg) from error
        except (ValueError, RecursionError) as error:
            raise _MalformedError(at, f"{_BEYOND} ({error})") from error
        # A number goes on for as long as there are digits.
        return None if end == len(text) and not self._ended else (value, end)

    def _stories(self, entry: Any, at: int) -> list[str]:
        """The stories in a value, which are several if there are marks in it."""
        text: Any = None
        if isinstance(entry, str):
            text = entry
        elif isinstance(entry, dict):
            text = next((entry[name] for name in self._names if name in entry), None)
        if not isinstance(text, str):
            self._number += 1
            self._meet(at, no_text(entry, self._field))
            return []
        if text.isascii() and SEPARATOR not in text and self._ascii_is_fine:
            story = text.strip()
            self._number += bool(story)
            return [story] if story else []
        # One that was written as \udcXX is in the text alone, and `encodable` refuses it.
        if _NOT_UTF8.search(text) and (place := _NOT_UTF8.search(self._text, at, self._at)):
            return self._not_utf8(place)
        stories = parts(text)
        first = self._number + 1
        self._number += len(stories)
        return encodable(stories, self._content.path, first, self._problems)

    def _not_utf8(self, place: re.Match[str]) -> list[str]:
        offset = self._offset_of(place.start())
        path, value = self._content.path, ord(place.group()) & 0xFF
        self._number += 1
        self._problems.meet(path, self._number, lambda: not_utf8(path, offset, value))
        return []

    def _malformed(self, error: _MalformedError) -> None:
        """Go on with the line after the value's first, if that can be where one begins."""
        if self._where != _TOP:
            self._leave_rest(lambda: self._said(error.at, str(error)))
            return
        self._number += 1
        self._meet(error.at, str(error))
        self._pass_line()

    def _too_long(self) -> None:
        """Go on with the next line, if the value is on one as far as it was read: the next one of a
        value that has several might be taken for a story."""
        if self._where != _TOP or "\n" in self._text[self._at :]:
            self._leave_rest(lambda: self._said(self._at, _TOO_LONG))
            return
        self._number += 1
        self._meet(self._at, _TOO_LONG)
        self._pass_line()

    def _pass_line(self) -> None:
        """Go to the end of a line, or of what was read of it: then what comes next belongs to it,
        which a state has to say too."""
        end = self._text.find("\n", self._at)
        self._at = len(self._text) if end < 0 else end + 1
        self._where = _IN_BAD_LINE if end < 0 else _TOP

    def _leave_rest(self, error: Any) -> None:
        self._problems.meet_end(self._content.path, self._number, error)
        self._gave_up = True

    def _meet(self, at: int, what: str) -> None:
        self._problems.meet(self._content.path, self._number, lambda: self._said(at, what))

    def _offset_of(self, at: int) -> int:
        return self._offset + len(self._text[:at].encode(errors="surrogateescape"))

    def _said(self, at: int, what: str) -> DataError:
        """What is wrong at a place of the text."""
        path = self._content.path
        place = f"{path}: line {line_of(path, self._offset_of(at)):,}"
        if what.startswith("has no story"):
            entry = f": entry {self._entries:,}" if self._where != _TOP else ""
            return DataError(f"{place}{entry} {what}")
        if what.startswith((_BEYOND, _TOO_LONG)):
            return DataError(f"{place}: {what}")
        return DataError(f"{place}: not JSON ({what})")
