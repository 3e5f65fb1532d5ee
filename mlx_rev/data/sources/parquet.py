"""Stories in a column of a Parquet file, through pyarrow, which is an extra: mlx-rev[parquet]."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from mlx_rev import files
from mlx_rev.data.sources.chunk import Chunk, State, encodable, parts
from mlx_rev.data.sources.json_values import TEXT_FIELDS
from mlx_rev.data.sources.problems import SKIP_ADVICE, Problems
from mlx_rev.errors import DataError

_ROWS = 1024
"""Rows that are read at once."""
_BUFFER = 1 << 20
"""Bytes of a column that are read at once: without this, pyarrow reads a row group's all."""


def read_parquet(
    path: Path, field: str | None, start: State, problems: Problems
) -> Iterator[Chunk]:
    """The stories in a column, by default one of TEXT_FIELDS, from `start` on. A state is the row
    group, the row in it and the number of stories in the file before it. Raises DataError."""
    pyarrow = _pyarrow(path)
    group, row, number = start or (0, 0, 0)
    files.check_regular(path)
    try:
        with pyarrow.parquet.ParquetFile(
            path, buffer_size=_BUFFER, pre_buffer=False, memory_map=False
        ) as file:
            column = _column(file.schema_arrow, path, field, pyarrow)
            size, rows = path.stat().st_size, max(file.metadata.num_rows, 1)
            read = sum(file.metadata.row_group(each).num_rows for each in range(group)) + row
            for each in range(group, file.num_row_groups):
                passed = 0
                for batch in file.iter_batches(
                    _ROWS, row_groups=[each], columns=[column], use_threads=False
                ):
                    passed += len(batch)
                    if passed <= row:
                        continue
                    values = batch.column(0)
                    if row > passed - len(batch):
                        values = values.slice(row - (passed - len(batch)))
                    stories, number = _stories(values, path, read, number, problems)
                    row, read = passed, read + len(values)
                    yield Chunk(stories, (each, row, number), size * read // rows)
                row = 0
    except (pyarrow.ArrowException, OSError) as error:
        # What pyarrow raises for a damaged page is an OSError too, without a number.
        if isinstance(error, OSError) and error.errno is not None:
            raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
        damage = error  # An except clause's own name ends with it.
        problems.meet_end(path, number, lambda: _damaged(path, damage))


def _stories(
    values: Any, path: Path, row: int, number: int, problems: Problems
) -> tuple[list[str], int]:
    """The stories in rows of a file from `row` on, and how many there are up to then."""
    try:
        texts = values.to_pylist()
        plain = problems.refused is not None
        if plain and all(type(text) is str and text.isascii() for text in texts):
            stories = [story for text in texts for story in parts(text)]
            return stories, number + len(stories)
    except UnicodeDecodeError:
        pass
    stories = []
    for each, value in enumerate(values, start=row + 1):
        try:
            text = value.as_py()
            what = "" if isinstance(text, str) else "has no story: its text is missing"
        except UnicodeDecodeError:
            what = "is not UTF-8"
        if what:
            number += 1
            said = f"{path}: row {each:,} {what}; correct it, {SKIP_ADVICE}"
            problems.meet(path, number, partial(DataError, said))
            continue
        found = parts(text)
        stories += encodable(found, path, number + 1, problems)
        number += len(found)
    return stories, number


def _column(schema: Any, path: Path, field: str | None, pyarrow: Any) -> str:
    """The name of the column with the text. Raises DataError."""
    types = pyarrow.types
    texts = []
    for column in schema:
        kind = column.type.value_type if types.is_dictionary(column.type) else column.type
        if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
            texts.append(column.name)
    for name in TEXT_FIELDS if field is None else (field,):
        if name in texts:
            return str(name)
    wanted = " or ".join(f'"{name}"' for name in (TEXT_FIELDS if field is None else (field,)))
    there = ", ".join(repr(name)[:40] for name in texts)
    advice = f"; if it is in {there}, name that with --field" if texts else ""
    raise DataError(f"{path}: has no column {wanted} of text{advice}")


def _damaged(path: Path, error: Exception) -> DataError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return DataError(
        f"{path}: not a Parquet file that can be read to its end ({reason}); get it again, or use "
        "what could be read with --on-error skip"
    )


def _pyarrow(path: Path) -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise DataError(
            f"{path}: reading Parquet needs pyarrow; pip install 'mlx-rev[parquet]'"
        ) from error
    return pyarrow
