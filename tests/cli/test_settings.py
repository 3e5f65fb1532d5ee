"""The settings that a model comes with hold, but for what the command line says."""

import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from mlx_rev.formats.convert import convert
from mlx_rev.formats.detect import built_in_model, open_model

Run = Callable[..., subprocess.CompletedProcess[str]]
SHORT = ("They were happy.", "--max-tokens", "12", "--seed", "4")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same weights, cold, hot, and without an opinion."""
    folder, found = tmp_path_factory.mktemp("models"), {}
    for name, settings in (("cold", {"temperature": 0.0}), ("hot", {"top_k": 3}), ("plain", {})):
        found[name] = folder / name
        convert(replace(open_model(built_in_model()), settings=settings), found[name])
    return found


def told(run: Run, model: Path, *options: str) -> str:
    text = run("tell", *SHORT, "--model", str(model), *options).stdout
    assert text.strip().endswith(SHORT[0])
    return text


def test_tell_takes_them_up(run: Run, models: dict[str, Path]) -> None:
    assert told(run, models["cold"]) == told(run, models["plain"], "--temperature", "0")
    assert told(run, models["hot"]) == told(run, models["plain"], "--top-k", "3")


def test_a_flag_says_otherwise_also_where_it_is_the_general_default(
    run: Run, models: dict[str, Path]
) -> None:
    assert told(run, models["cold"], "--temperature", "0.8") == told(run, models["plain"])
    both = told(run, models["hot"], "--temperature", "0")
    assert both == told(run, models["plain"], "--temperature", "0", "--top-k", "3")


def test_evaluate_measures_with_them(run: Run, models: dict[str, Path], tmp_path: Path) -> None:
    found = tmp_path / "found.json"
    options = ("--count", "3", "--max-tokens", "5", "--json", str(found))
    run("evaluate", str(models["cold"]), *options)
    assert json.loads(found.read_text())["settings"]["temperature"] == 0.0
