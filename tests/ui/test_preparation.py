import io
from pathlib import Path

import pytest
from rich.console import Console

from mlx_rev.config import DataConfig
from mlx_rev.data.progress import Progress
from mlx_rev.ui import preparation
from mlx_rev.ui.preparation import Stage, line_notify, prepare_shown


class Clock:
    """Goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_share_text_speed_and_time_left() -> None:
    clock = Clock()
    stage = Stage(clock)
    assert stage.figures(Progress("s")) == ""
    assert stage.figures(Progress("s", 0.0, 0)) == "0%"
    clock.now = 10.0
    assert stage.figures(Progress("s", 0.25, 200_000_000)) == "25%, 200 MB, 20.0 MB/s, 30 s left"
    assert stage.figures(Progress("s", None, 200_000_000)) == "200 MB, 20.0 MB/s"


def test_what_was_there_already_does_not_count_for_long() -> None:
    clock = Clock()
    stage = Stage(clock)
    stage.figures(Progress("s", 0.0, 0))
    for number in range(100):
        clock.now += 1.0
        said = stage.figures(Progress("s", 0.5 + number / 1000, 500_000_000 + number * 1_000_000))
    assert said == "60%, 599 MB, 1.0 MB/s, 6 min 41 s left"


def test_in_a_pipe_a_line_when_a_stage_begins_and_now_and_then() -> None:
    clock, output = Clock(), io.StringIO()
    notify = line_notify(Console(file=output, width=80, markup=False), clock)
    for number in range(50):
        notify(Progress("reading [b]", number / 50, number * 10_000_000))
        clock.now += 1.0
    notify(Progress("writing"))
    lines = output.getvalue().splitlines()
    assert lines[0] == "reading [b]"
    assert lines[1].startswith("reading [b]: 40%, 200 MB, 10.0 MB/s, 30 s left")
    assert len(lines) == 4
    assert lines[-1] == "writing"


@pytest.mark.parametrize("terminal", [True, False])
def test_the_stages_of_a_corpus(
    tmp_path: Path, some_stories: list[str], terminal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, output = tmp_path / "stories.txt", io.StringIO()
    path.write_text("\n<|endoftext|>\n".join(some_stories[:60]), encoding="utf-8")
    console = Console(file=output, width=120, force_terminal=terminal, highlight=False)
    monkeypatch.setattr(preparation, "is_interactive", lambda console: terminal)
    data, progressed = DataConfig(data=str(path), valid_share=0.2), []
    prepare_shown(
        data, 320, tmp_path / "cache", console, progressed=lambda: progressed.append(True)
    )
    assert len(progressed) > 4
    said = output.getvalue()
    stages = (
        "choosing text for the vocabulary",
        "learning a vocabulary of 320 pieces",
        "tokenising the train stories of stories.txt",
        "tokenising the valid stories of stories.txt",
    )
    places = [said.index(stage) for stage in stages]
    assert places == sorted(places)
    if not terminal:
        assert said.splitlines() == list(stages)
