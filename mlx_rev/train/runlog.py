"""The run folder's own record: metrics.jsonl, one event a line, and samples.md made from it."""

import dataclasses
import json
from pathlib import Path
from typing import Any

from mlx_rev import files
from mlx_rev.train.events import Evaluated, Event, Sampled, Stepped

METRICS_FILE = "metrics.jsonl"
SAMPLES_FILE = "samples.md"

_KINDS: dict[type, str] = {Stepped: "step", Evaluated: "eval", Sampled: "sample"}


class RunLog:
    """A reporter that appends to metrics.jsonl and keeps samples.md up to date."""

    def __init__(self, run: Path) -> None:
        self._metrics = run / METRICS_FILE
        self._samples = run / SAMPLES_FILE

    def report(self, event: Event) -> None:
        """Record steps, evaluations and samples; other events leave no trace here."""
        kind = _KINDS.get(type(event))
        if kind is None:
            return
        line = json.dumps({"kind": kind, **dataclasses.asdict(event)}, ensure_ascii=False)
        self._metrics.parent.mkdir(parents=True, exist_ok=True)
        with open(self._metrics, "a", encoding="utf-8") as file:
            file.write(line + "\n")
        if isinstance(event, Sampled):
            self._write_samples()

    def rewind(self, step: int) -> None:
        """Forget what came after `step`: the run goes on from there."""
        kept = [entry for entry in read_metrics(self._metrics) if entry["step"] <= step]
        lines = [json.dumps(entry, ensure_ascii=False) + "\n" for entry in kept]
        files.write_text(self._metrics, "".join(lines))
        self._write_samples()

    def _write_samples(self) -> None:
        parts = ["# Stories written during training\n"]
        for entry in read_metrics(self._metrics):
            if entry["kind"] == "sample":
                quoted = entry["story"].replace("\n", "\n> ")
                parts.append(f"\n## Step {entry['step']}\n\n> {quoted}\n")
        files.write_text(self._samples, "".join(parts))


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The entries of a metrics.jsonl; a line cut short by a crash, and a missing file, are none."""
    if not path.exists():
        return []
    entries = []
    for line in files.read_bytes(path).decode(errors="replace").splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and {"kind", "step"} <= entry.keys():
            entries.append(entry)
    return entries
