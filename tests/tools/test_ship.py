"""What ships: a folder made of a run, made anew, or left as it was."""

from pathlib import Path

import pytest
import ship

import mlx_rev
from mlx_rev.text.sentences import last_sentences


@pytest.fixture
def stories(tmp_path: Path, some_stories: list[str]) -> Path:
    path = tmp_path / "held out.txt"
    path.write_text("\n<|endoftext|>\n".join(some_stories[-12:]), encoding="utf-8")
    return path


def test_a_run_becomes_a_folder_and_again(
    trained: Path, stories: Path, some_stories: list[str], tmp_path: Path
) -> None:
    target = tmp_path / "stories9k"
    options = [str(trained), str(target), "--stories", str(stories)]
    assert ship.main([*options, "--temperature", "0.5"]) == 0
    first = {path.name for path in target.iterdir()}
    assert {*ship.COPIED, "README.md", "model.safetensors", "tokenizer.model"} <= first
    assert ship.main([*options, "--temperature", "0.7", "--dtype", "float16"]) == 0
    assert {path.name for path in target.iterdir()} == first
    readme = (target / "README.md").read_text(encoding="utf-8")
    assert readme.startswith("# stories9k\n")
    assert "60 steps" in readme
    assert "weights in float16" in readme.replace("\n", " ")
    assert f"**Seed 9**, `{last_sentences(some_stories[-3].strip())}`" in readme
    teller = mlx_rev.load(target)
    assert teller.settings.temperature == 0.7
    ending = last_sentences(some_stories[-12].strip())
    shown = readme.split("**Seed 0**")[1].split("**Seed 1**")[0]
    told = teller.tell(ending, seed=0).text
    assert "".join(told.split()) in "".join(shown.replace(">", "").split())


def test_what_is_no_model_is_not_replaced(
    trained: Path, stories: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("mine")
    for run, target, said in (
        (trained, tmp_path / "mine", "holds thesis.tex"),
        (tmp_path / "none", tmp_path / "t", "none: no such model"),
        (trained, Path("/proc/t"), "/proc/t: "),
    ):
        assert ship.main([str(run), str(target), "--stories", str(stories)]) == 2
        shown = capsys.readouterr().err
        assert said in shown
        assert shown.count("\n") == 1
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.tex"]
    assert not (tmp_path / "t").exists()
