import json
from pathlib import Path

import pytest

from mlx_rev.ui.plots import loss_plot


def write(path: Path, entries: list[dict]) -> None:
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))


def read(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()[:3]]


@pytest.mark.process
def test_a_plot_is_made_of_every_figure_there_is(tmp_path: Path) -> None:
    metrics, target = tmp_path / "metrics.jsonl", tmp_path / "loss.png"
    write(
        metrics,
        [
            {"kind": "step", "step": 20, "loss": 3.0},
            {"kind": "step", "step": 40, "loss": 2.0},
            {"kind": "eval", "step": 40, "loss": 2.1, "bits_per_byte": 1.1},
        ],
    )
    loss_plot(metrics, target)
    first = target.read_bytes()
    assert first.startswith(b"\x89PNG")
    loss_plot(metrics, target)
    assert target.read_bytes() == first
    with open(metrics, "a") as file:
        file.write('{"kind": "step", "st')
    loss_plot(metrics, target)
    assert target.read_bytes() == first
    everything = read(metrics)
    for changed in (everything[:-1], [{**everything[0], "loss": 9.0}, *everything[1:]]):
        write(metrics, changed)
        loss_plot(metrics, target)
        assert target.read_bytes() != first
    assert sorted(path.name for path in tmp_path.iterdir()) == ["loss.png", "metrics.jsonl"]


def test_nothing_to_draw_makes_no_file(tmp_path: Path) -> None:
    loss_plot(tmp_path / "missing.jsonl", tmp_path / "loss.png")
    write(tmp_path / "metrics.jsonl", [{"kind": "sample", "step": 1, "story": "x"}])
    loss_plot(tmp_path / "metrics.jsonl", tmp_path / "loss.png")
    assert not (tmp_path / "loss.png").exists()
