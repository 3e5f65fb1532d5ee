from pathlib import Path

import pytest

from mlx_rev.repl.names import lasting_reference, short_name


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("stories9m", "stories9m"),
        ("runs/mine", "mine"),
        ("/far/away/runs/mine/", "mine"),
        ("runs/mine/checkpoints/best", "mine best"),
        ("../models/story.bin", "story.bin"),
        ("hf:someone/model/file.bin", "someone/model/file.bin"),
        (".", "."),
    ],
)
def test_a_model_has_a_short_name(reference: str, name: str) -> None:
    assert short_name(reference) == name


def test_a_reference_is_good_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").mkdir()
    assert lasting_reference("model") == str(tmp_path / "model")
    assert lasting_reference("stories9m") == "stories9m"
    assert lasting_reference(str(tmp_path / "model")) == str(tmp_path / "model")
