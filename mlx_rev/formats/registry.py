"""The one list of formats. A new one is a module that makes a `Format`, and a line here."""

from collections.abc import Iterable
from pathlib import Path

from mlx_rev.config import Dtype
from mlx_rev.errors import ConfigError, FormatError
from mlx_rev.formats import gguf, huggingface, llama2c, run
from mlx_rev.formats.format import Format, Source

FORMATS: tuple[Format, ...] = (
    *llama2c.FORMATS,
    huggingface.FORMAT,
    gguf.FORMAT,
    run.FORMAT,
)
"""A target is by default written in the first format that has its suffix."""


def names() -> list[str]:
    """The names of the formats."""
    return [each.name for each in FORMATS]


def summaries() -> str:
    """Every format in a few words, for help."""
    return "; ".join(f"{each.name} is {each.summary}" for each in FORMATS)


def named(name: str) -> Format:
    """The format of a name. Raises FormatError for an unknown one."""
    for each in FORMATS:
        if each.name == name:
            return each
    raise FormatError(f"unknown format {name!r}; expected one of {', '.join(names())}")


def recognised(source: Source) -> Format | None:
    """The format of a file or folder, by its content; None if no format claims it."""
    return next((each for each in FORMATS if each.recognises(source)), None)


def by_suffix(path: Path) -> Format | None:
    """The format whose files have the suffix of `path`; without one, a folder's."""
    return next((each for each in FORMATS if each.suffix == path.suffix), None)


def choose(target: Path, asked: str | None, dtype: Dtype | None) -> tuple[Format, Dtype]:
    """The format and dtype to write, from what was asked and the target's name.

    Raises FormatError if they do not go together, and for a suffix that no format has: if it is
    part of a folder's name, the format has to be asked for.
    """
    if asked is not None:
        chosen = named(asked)
    else:
        known = [each for each in FORMATS if each.suffix == target.suffix]
        if not known and not target.suffix[1:2].isalpha():
            known = [each for each in FORMATS if not each.suffix]  # stories-1.5 is a folder's name
        if not known:
            suffixes = ", ".join(dict.fromkeys(each.suffix for each in FORMATS if each.suffix))
            raise FormatError(
                f"{target}: no format has the suffix {target.suffix}; expected {suffixes}, or "
                "a folder's name without one (--to mlx takes any)"
            )
        chosen = next((each for each in known if dtype in (None, *each.dtypes)), known[0])
    dtype = dtype or chosen.dtypes[0]
    if dtype not in chosen.dtypes:
        same = [chosen] if asked else [each for each in FORMATS if each.suffix == chosen.suffix]
        possible = " or ".join(dict.fromkeys(kind for each in same for kind in each.dtypes))
        raise FormatError(f"{chosen.name} cannot hold {dtype}; expected --dtype {possible}")
    return chosen, dtype


def check_options(asked: str | None, given: Iterable[str]) -> None:
    """Raise ConfigError for an option that does not apply to the format."""
    if asked is None:
        return
    for option in given:
        if option in named(asked).refuses:
            raise ConfigError(f"--{option} does not apply to --to {asked}; leave it out")
