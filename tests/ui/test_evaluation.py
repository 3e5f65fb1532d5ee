import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from mlx_rev.data import bundled
from mlx_rev.generate.evaluate import Evaluation, Measure, Yardstick, held_out, measure
from mlx_rev.generate.measures import EndedStory, known_names
from mlx_rev.ui import evaluation
from mlx_rev.ui.console import THEME, make_console


@pytest.fixture(scope="module")
def measured() -> Evaluation:
    texts = [story.text for story in bundled.stories("valid", count=40)]
    real = held_out(texts, 12)
    told = [*real[:-1], EndedStory(f'"Hat, hat! {real[-1].ending}', real[-1].ending, whole=False)]
    yardstick = Yardstick(real=real, names=known_names(texts), training=lambda: texts[20:])
    return measure(told, yardstick)


def shown(measured: Evaluation, title: str) -> str:
    file = io.StringIO()
    evaluation.show(measured, title, make_console(file))
    return file.getvalue()


def test_a_row_of_the_table_has_the_mean_and_the_interval_of_each_column(
    measured: Evaluation,
) -> None:
    text = shown(measured, "A [b] model")
    lines = text.splitlines()
    assert lines[0].strip() == "A [b] model"
    assert lines[1].split()[-3:] == ["model", "real", "shuffled"]
    [cut] = [line for line in lines if "not at its beginning" in line]
    found = measured.rows["model"]["cut"].estimate
    assert f"8% [1, {100 * found.high:.0f}]" in cut
    assert cut.count(" 0% [0, 24]") == 2
    assert len(lines) == 2 + len(measured.measures)
    assert "…" not in text


def test_chance_stands_beside_what_a_judge_recognises(measured: Evaluation) -> None:
    assert measured.chance == {}
    recognised = Measure("retrieved", "ending recognised", percent=True, digits=0, judged=True)
    figures = {name: {**row, "retrieved": row["cut"]} for name, row in measured.rows.items()}
    judged = replace(measured, measures=(recognised, *measured.measures), rows=figures)
    lines = [line.split() for line in shown(judged, "A model").splitlines()]
    assert lines[1][-1] == "chance"
    assert [line[-1] for line in lines if line[:2] == ["ending", "recognised"]] == ["8%"]
    console = Console(file=io.StringIO(), force_terminal=True, width=40, color_system=None)
    console.push_theme(THEME)
    evaluation.show(judged, "A model", console)
    assert console.file.getvalue().count("\n  chance    8%\n") == 1  # type: ignore[attr-defined]
    assert json.loads(evaluation.as_json(judged, {}))["chance"] == {"retrieved": 0.0833333}


def test_on_a_narrow_terminal_nothing_is_cut(measured: Evaluation) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=40, color_system=None)
    console.push_theme(THEME)
    evaluation.show(measured, "A model", console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    lines = text.splitlines()
    assert len(lines) == 2 + len(measured.measures) * (1 + len(measured.rows))
    assert {measure.label for measure in measured.measures} <= {*lines}
    found = measured.rows["model"]["cut"].estimate
    place = lines.index("not at its beginning")
    assert lines[place + 1] == f"  model     8% [1, {100 * found.high:.0f}]"
    assert max(map(len, lines)) <= 40


def test_the_json_has_every_figure_story_by_story(measured: Evaluation) -> None:
    content = json.loads(evaluation.as_json(measured, {"model": "m"}))
    assert content["model"] == "m"
    assert list(content["rows"]) == ["model", "real", "shuffled"]
    for figures in content["rows"].values():
        assert list(figures) == list(content["measures"])
        for figure in figures.values():
            assert figure["mean"] == pytest.approx(np.mean(figure["values"]), rel=1e-5)
            assert figure["low"] <= figure["mean"] <= figure["high"]
    assert [story["whole"] for story in content["stories"]] == [True] * 11 + [False]


@pytest.mark.process
def test_the_picture_is_the_same_each_time_and_changes_with_the_figures(
    measured: Evaluation, tmp_path: Path
) -> None:
    target = tmp_path / "figures.png"
    evaluation.picture(measured, "costs $5 or $6", target)
    first = target.read_bytes()
    assert first.startswith(b"\x89PNG")
    evaluation.picture(measured, "costs $5 or $6", target)
    assert target.read_bytes() == first
    rows = measured.rows | {"model": measured.rows["shuffled"]}
    evaluation.picture(
        Evaluation(measured.measures, rows, measured.stories), "costs $5 or $6", target
    )
    assert target.read_bytes() != first
    assert [path.name for path in tmp_path.iterdir()] == ["figures.png"]


def test_progress_without_a_terminal_is_a_line_a_stage() -> None:
    file = io.StringIO()
    with evaluation.bar(make_console(file)) as notify:
        for share in (0.0, 0.5, 1.0):
            notify("telling", share)
        notify("reading the training text, 0 stories", 0)
        notify("reading the training text, 1,000 stories", 0)
    assert file.getvalue() == "telling\nreading the training text\n"
