"""What several commands make of the options they have in common."""

from pathlib import Path

import pytest

from mlx_rev.cli.options import options_of_run


@pytest.mark.parametrize(
    ("inside", "model", "is_of_run"),
    [
        ("run", ".", True),
        ("run", "checkpoints/latest", True),
        ("run/checkpoints", "latest", True),
        ("run/checkpoints/latest", ".", True),
        (".", "run", True),
        (".", "run/checkpoints/latest", True),
        ("run", "stories9m", False),
        ("run", "hf:owner/repo", False),
        ("run", "model.gguf", False),
        ("run/checkpoints", "stories9m", False),
        (".", "run/checkpoints/latest/config.json", False),
    ],
)
def test_only_a_run_and_its_checkpoints_have_its_options(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inside: str, model: str, is_of_run: bool
) -> None:
    run = tmp_path / "run"
    (run / "checkpoints" / "latest").mkdir(parents=True)
    for name in ("config.toml", "model.gguf", "checkpoints/latest/config.json"):
        (run / name).touch()
    monkeypatch.chdir(tmp_path / inside)
    found = options_of_run(Path(model))
    assert (found and found.resolve()) == (run / "config.toml" if is_of_run else None)


def test_a_run_may_lie_in_a_folder_called_checkpoints(tmp_path: Path) -> None:
    run = tmp_path / "checkpoints" / "run"
    (run / "checkpoints" / "latest").mkdir(parents=True)
    for folder in (tmp_path, run):
        (folder / "config.toml").touch()
    for model in (run, run / "checkpoints" / "latest"):
        assert options_of_run(model) == run / "config.toml"
