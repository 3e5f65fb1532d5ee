"""The run folder's own record, and what is forgotten of it."""

from pathlib import Path

from mlx_rev.train.events import Evaluated, Sampled, Saved, Stepped
from mlx_rev.train.runlog import RunLog, read_metrics


def test_what_came_after_a_step_is_forgotten_in_both_files(tmp_path: Path) -> None:
    log, samples = RunLog(tmp_path), tmp_path / "samples.md"
    for event in (
        Stepped(5, 2.5, 1e-3, 0.5, 9.0, 10),
        Evaluated(6, 2.0, 1.0, best=True),
        Sampled(6, "Bye.", "One.\n\nBye."),
        Saved(6, tmp_path),
        Sampled(9, "Bye.", "Two. Bye."),
    ):
        log.report(event)

    def steps() -> list[int]:
        return [entry["step"] for entry in read_metrics(tmp_path / "metrics.jsonl")]

    first = "# Stories written during training\n\n## Step 6\n\n> One.\n> \n> Bye.\n"
    assert samples.read_text() == first + "\n## Step 9\n\n> Two. Bye.\n"
    log.rewind(6)
    assert steps() == [5, 6, 6]
    assert samples.read_text() == first
    log.rewind(5)
    assert steps() == [5]
    assert not samples.exists()
