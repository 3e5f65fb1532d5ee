"""Values from JSON or a file's metadata, each checked to be what its reader needs."""

import json
import math
import reprlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mlx_rev import files
from mlx_rev.errors import FormatError


class Fields:
    """An object's values by name; null is the same as missing.

    Every reader raises FormatError, naming source and field, for a value of another type, and for
    a missing one without a default.
    """

    def __init__(self, values: Mapping[str, Any], source: str) -> None:
        self.values = values
        self.source = source

    def integer(self, name: str, default: int | None = None) -> int:
        """A whole number (128.0 is not one)."""
        return int(self._typed(name, int, "a whole number", default))

    def number(self, name: str, default: float | None = None) -> float:
        """A finite number."""
        value = self._typed(name, int | float, "a number", default)
        if abs(value) > 1e300 or not math.isfinite(value):
            raise self.error(name, "a finite number")
        return float(value)

    def flag(self, name: str, default: bool | None = None) -> bool:
        """True or false."""
        return bool(self._typed(name, bool, "true or false", default))

    def text(self, name: str, default: str | None = None) -> str:
        """A string that can be written as UTF-8."""
        value = str(self._typed(name, str, "a string", default))
        if any("\ud800" <= character <= "\udfff" for character in value):
            raise self.error(name, "a string without lone surrogates")
        return value

    def object(self, name: str) -> "Fields":
        """An object, empty where it is missing."""
        return Fields(self._typed(name, Mapping, "an object", {}), self.source)

    def list(self, name: str) -> list[Any]:
        """A list, empty where it is missing."""
        return list(self._typed(name, list, "a list", []))

    def objects(self, name: str) -> Iterator["Fields"]:
        """A list of objects, empty where it is missing."""
        for value in self.list(name):
            if not isinstance(value, Mapping):
                raise self.error(name, "a list of objects")
            yield Fields(value, self.source)

    def has(self, name: str) -> bool:
        """Whether the value is there and not null."""
        return self.values.get(name) is not None

    def error(self, name: str, expected: str) -> FormatError:
        """What to raise for a value that is not `expected`."""
        found = reprlib.repr(self.values.get(name))
        return FormatError(f"{self.source}: {name} is {found}, expected {expected}")

    def _typed(self, name: str, kind: Any, expected: str, default: Any) -> Any:
        value = self.values.get(name)
        if value is None:
            if default is None:
                raise FormatError(f"{self.source}: {name} is missing; expected {expected}")
            return default
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise self.error(name, expected)
        return value


def parse_json(content: bytes, source: str) -> Fields:
    """The fields of a JSON object in UTF-8. Raises FormatError."""
    try:
        values = json.loads(content.decode("utf-8-sig"))
    except RecursionError as error:
        raise FormatError(f"{source}: nested too deeply; damaged") from error
    except ValueError as error:
        raise FormatError(f"{source}: not JSON ({error}); damaged") from error
    if not isinstance(values, dict):
        raise FormatError(f"{source}: expected a JSON object")
    return Fields(values, source)


def read_json(path: Path) -> Fields:
    """The fields of a JSON file. Raises FormatError."""
    try:
        content = files.read_bytes(path)
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror})") from error
    return parse_json(content, str(path))
