"""How `--data` and `--valid` name where stories come from."""

import glob
import itertools
import math
import os
import re
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from mlx_rev.errors import DataError

BUNDLED, TINYSTORIES, TINYSTORIES_V2 = "bundled", "tinystories", "tinystories-v2"
STANDARD_INPUT = "-"
HUB = "hf:"
MOST_TIMES = 1000.0
"""A weight beyond this is a mistake."""

_WEIGHT = re.compile(r"(.+)=([0-9]*\.?[0-9]+)")
_FORM = "hf:owner/name[/path][:column][@revision]"
_PART = re.compile(r"[\w.-]+")


@dataclass(frozen=True)
class Named:
    """A source of stories, by its name."""

    name: str
    """bundled, tinystories, tinystories-v2, hf:..., -, or a path or glob."""
    weight: float = 1.0
    """How often each of its stories is trained on in an epoch: 2 is twice, 0.5 is half of them."""


@dataclass(frozen=True)
class HubName:
    """A dataset on the hub."""

    repository: str
    path: str
    """A folder or file of the repository, or a glob; "" is all of it."""
    column: str | None
    revision: str | None


def sources_in(data: str) -> list[Named]:
    """The sources that `data` names: one, or several with commas between them, each with =weight or
    without. What is there as a file, a folder or a glob is one whatever its name looks like. Raises
    DataError."""
    if not data.strip():
        raise DataError(
            f"a corpus is named {data!r}; expected bundled, tinystories, tinystories-v2, "
            "hf:owner/name, -, a file, a folder or a glob; . is the folder you are in"
        )
    # Unlike those of pathlib, these have no error for what is too long for a name.
    if os.path.exists(data) or (glob.has_magic(data) and glob.glob(data)):  # noqa: PTH110, PTH207
        return [Named(data)]
    found = []
    for part in data.split(","):
        named = _named(part)
        if not named.name:
            raise DataError(f"{data}: a name is missing beside a comma; expected NAME[=WEIGHT],...")
        if not 0 < named.weight <= MOST_TIMES or not math.isfinite(named.weight):
            raise DataError(
                f"{data}: the weight of {named.name} is {named.weight:g}, expected over 0 and at "
                f"most {MOST_TIMES:g}"
            )
        found.append(named)
    return found


def _named(part: str) -> Named:
    match = _WEIGHT.fullmatch(part.strip())
    return Named(match[1], float(match[2])) if match else Named(part.strip())


def joined(sources: list[Named]) -> str:
    """What `sources_in` reads as these; of several, none may have a comma in its name."""
    return ",".join(map(_written, sources))


def _written(named: Named) -> str:
    if named.weight == 1 and _named(named.name) == named:
        return named.name
    # In full and without an exponent, which no weight may have.
    weight = format(Decimal(repr(float(named.weight))), "f").removesuffix(".0")
    return f"{named.name}={weight}"


def is_downloaded(data: str) -> bool:
    """Whether any of the sources comes from the hub, so may be large."""
    names = [named.name for named in sources_in(data)]
    return any(name in (TINYSTORIES, TINYSTORIES_V2) or name.startswith(HUB) for name in names)


def short_name(data: str) -> str:
    """What a run on `data` is called: by its first source, be that a file, a folder, that which a
    glob looks in, or a repository of the hub."""
    name = sources_in(data)[0].name
    if name == STANDARD_INPUT:
        return "standard-input"
    if name.startswith(HUB):
        return hub_name(name).repository.partition("/")[2]
    path = Path(name)
    if not path.exists() and glob.has_magic(name):
        plain = itertools.takewhile(lambda part: not glob.has_magic(part), path.parts)
        path = Path(*plain)
    return path.stem or path.resolve().stem or "stories"


def hub_name(reference: str) -> HubName:
    """Read hf:owner/name[/path][:column][@revision]. Raises DataError."""
    rest, _, revision = reference.removeprefix(HUB).partition("@")
    rest, _, column = rest.partition(":")
    owner, _, rest = rest.partition("/")
    name, _, path = rest.partition("/")
    fine = _PART.fullmatch(owner) and _PART.fullmatch(name)
    if not fine or any(part in (".", "..") for part in (*path.split("/"), owner, name)):
        raise DataError(f"{reference}: expected {_FORM}")
    return HubName(f"{owner}/{name}", path.strip("/"), column or None, revision or None)
