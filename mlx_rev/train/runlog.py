"""The run folder's own record: metrics.jsonl, one event a line, and samples.md made from it."""

import dataclasses
import json
from pathlib import Path
from typing import Any

from mlx_rev import files, run_folder
from mlx_rev.config_checks import LARGEST_COUNT
from mlx_rev.errors import DataError
from mlx_rev.train.events import Evaluated, Event, Sampled, Stepped

_KINDS: dict[type, str] = {Stepped: "step", Evaluated: "eval", Sampled: "sample"}
_NUMBERS = {"step": ("loss",), "eval": ("bits_per_byte",)}
"""What the curves are drawn from."""
LARGEST = 1e30
"""No loss that is logged is as large; axes go wrong far beyond."""


class RunLog:
    """A reporter that appends to metrics.jsonl and keeps samples.md up to date."""

    def __init__(self, run: Path) -> None:
        self._metrics = run / run_folder.METRICS
        self._samples = run / run_folder.SAMPLES

    def report(self, event: Event) -> None:
        """Record steps, evaluations and samples; other events leave no trace here."""
        kind = _KINDS.get(type(event))
        if kind is None:
            return
        line = json.dumps({"kind": kind, **dataclasses.asdict(event)}, ensure_ascii=False)
        self._metrics.parent.mkdir(parents=True, exist_ok=True)
        with files.naming(self._metrics), open(self._metrics, "a", encoding="utf-8") as file:
            file.write(line + "\n")
        if isinstance(event, Sampled):
            self._write_samples()

    def begin(self) -> None:
        """Forget what a run recorded that was killed before its first checkpoint."""
        for path in (self._metrics, self._samples):
            path.unlink(missing_ok=True)

    def rewind(self, step: int) -> None:
        """Forget what came after `step`: the run is resumed from there."""
        kept = [entry for entry in read_metrics(self._metrics) if entry["step"] <= step]
        lines = [json.dumps(entry, ensure_ascii=False) + "\n" for entry in kept]
        files.write_text(self._metrics, "".join(lines))
        self._write_samples()

    def _write_samples(self) -> None:
        samples = [entry for entry in read_metrics(self._metrics) if entry["kind"] == "sample"]
        if not samples:
            self._samples.unlink(missing_ok=True)
            return
        parts = ["# Stories written during training\n"]
        for entry in samples:
            quoted = entry["story"].replace("\n", "\n> ")
            parts.append(f"\n## Step {entry['step']}\n\n> {quoted}\n")
        files.write_text(self._samples, "".join(parts))


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The entries of a metrics.jsonl; a line cut short by a crash, and a missing file, are none.

    Raises DataError, naming the line, for an entry that nothing here could have written.
    """
    if not path.exists():
        return []
    entries = []
    try:
        content = files.read_bytes(path).decode(errors="replace")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    for number, line in enumerate(content.split("\n"), start=1):
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        except RecursionError:
            entry = None
        if wrong := _what_is_wrong(entry):
            raise DataError(f"{path}: line {number}: {wrong}; it is damaged: remove the line")
        entries.append(entry)
    return entries


def _what_is_wrong(entry: Any) -> str:
    """Why this is no entry of a metrics.jsonl, in words; "" where it is one.

    A field that nobody reads may have any type; entries of other kinds are passed over.
    """
    if not isinstance(entry, dict):
        return "expected an object"
    step, kind = entry.get("step"), entry.get("kind")
    if type(step) is not int or not 0 <= step < LARGEST_COUNT:
        return "its step is no whole number from 0 to 2^53"
    if not isinstance(kind, str):
        return "its kind is not a string"
    for name in _NUMBERS.get(kind, ()):
        value = entry.get(name)
        if not isinstance(value, int | float) or value is True or not -LARGEST < value < LARGEST:
            return f"its {name} is no number from -{LARGEST:g} to {LARGEST:g}"
    if kind == "sample" and not isinstance(entry.get("story"), str):
        return "its story is not a string"
    try:
        json.dumps(entry, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return "it has a lone surrogate"
    return ""
