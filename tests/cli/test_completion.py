"""The completion scripts, in the shells that they are for."""

import io
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from itertools import islice
from pathlib import Path

import pytest

from mlx_rev.cli import score
from mlx_rev.cli.completion import _NAMED, command_of
from mlx_rev.cli.flags import options_of, parse
from mlx_rev.cli.help import COMMANDS
from mlx_rev.cli.train_options import given_model
from mlx_rev.config import DataConfig
from mlx_rev.data.sources import hub_dataset
from mlx_rev.data.sources.names import Named
from mlx_rev.data.sources.opening import open_source
from mlx_rev.data.sources.problems import Problems
from mlx_rev.data.sources.standard_input import spooled
from mlx_rev.formats.detect import open_model
from mlx_rev.generate.judge import load_judge
from mlx_rev.generate.teller import load
from mlx_rev.presets import preset
from mlx_rev.repl.meeting import forwards
from tests.conftest import Run

COMPLETED = {
    "tr": {"train"},
    "tell --best": {"--best-of"},
    "repl --con": {"--continue"},
    "train --preset 1": {"15m", "110m"},
    "convert a b --dtype fl": {"float32", "float16"},
    "tell --model st": {"stories9m", "stories.bin"},
    "evaluate sto": {"stories9m", "stories.bin"},
    "score bun": {"bundled"},
    "train --data tiny": {"tinystories", "tinystories-v2"},
    "convert a my": {"my-folder/"},
    "help wt": {"wtac"},
}
"""What may come instead of the last word, in a folder with stories.bin and my-folder."""


@pytest.fixture(scope="module")
def scripts(run: Run) -> dict[str, str]:
    return {shell: run("completion", shell).stdout for shell in ("bash", "zsh", "fish")}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "stories.bin").touch()
    (tmp_path / "my-folder").mkdir()
    return tmp_path


def lines_of(shell: str, script: str, folder: Path) -> list[str]:
    if not shutil.which(shell):
        pytest.skip(f"needs {shell}")
    command = [shell, "-c", script]
    done = subprocess.run(command, capture_output=True, check=True, text=True, cwd=folder)
    return done.stdout.split("\n==\n")[:-1]


def test_bash_completes(scripts: dict[str, str], folder: Path) -> None:
    show = "_shtab_mlx_rev; printf '%s\\n' ${COMPREPLY[@]} =="
    words = [f"mlx-rev {typed}" for typed in COMPLETED]
    asked = [f"COMP_WORDS=({line}); COMP_CWORD={line.count(' ')}; {show}" for line in words]
    found = lines_of("bash", "\n".join([scripts["bash"], *asked]), folder)
    assert [{*each.replace("my-folder", "my-folder/").split()} for each in found] == [
        *COMPLETED.values()
    ]


def test_bash_completes_names_with_spaces(scripts: dict[str, str], folder: Path) -> None:
    (folder / "my folder").mkdir()
    (folder / "my folder" / "a story.txt").touch()
    asked = [
        f"COMP_WORDS=(mlx-rev train {option} {typed!r}); COMP_CWORD=3; _shtab_mlx_rev; "
        "printf '%s\\n' \"${COMPREPLY[@]}\" =="
        for option in ("--data", "--valid", "--config")
        for typed in ("my f", r"my\ f", r"my\ folder/a\ s")
    ]
    found = lines_of("bash", "\n".join([scripts["bash"], *asked]), folder)
    assert found == ["my folder", "my folder", "my folder/a story.txt"] * 3
    listed = lines_of("bash", f"{scripts['bash']}\n{asked[0].replace('my f', '')}", folder)
    assert {"bundled", "tinystories", "tinystories-v2", "-"} <= {*listed[0].splitlines()}


def test_fish_completes(scripts: dict[str, str], folder: Path) -> None:
    asked = [f"complete -C 'mlx-rev {typed}'; echo; echo ==" for typed in COMPLETED]
    found = lines_of("fish", "\n".join([scripts["fish"], *asked]), folder)
    words = [{line.partition("\t")[0] for line in each.splitlines()} - {""} for each in found]
    assert words == [*COMPLETED.values()]
    assert found[0] == "train\ttrain a model, or resume a run\n"


@pytest.mark.process
@pytest.mark.skipif(not shutil.which("zsh") or sys.platform == "win32", reason="needs zsh")
def test_zsh_completes(scripts: dict[str, str], folder: Path) -> None:
    from tests.repl.terminal import Terminal

    (folder / "_mlx-rev").write_text(scripts["zsh"])
    terminal = Terminal(folder, "-f", "-i", program="zsh")

    def type_and_see(keys: str, *shown: str) -> None:
        terminal.type(keys)
        terminal.wait(lambda rows: {*shown} <= {*rows, *" ".join(rows[1:]).split()}, 60)

    type_and_see(f"PS1='> '; fpath=({folder} $fpath); autoload -Uz compinit; compinit -u -D\r", ">")
    for typed, words in COMPLETED.items():
        line = f"> mlx-rev {typed}"
        type_and_see(line[2:], line)
        if len(words) == 1:
            type_and_see("\t", f"{line.rpartition(' ')[0]} {min(words)}")
        else:
            type_and_see("\t\t", *words)
        type_and_see("\x15\x0c", ">")
    terminal.process.close(force=True)


class Downloading(Exception):
    """The download of a corpus would begin."""


def _is_source(name: str) -> bool:
    """Whether what opens sources knows the name; where it does not, it raises DataError."""
    cache = Path("cache")
    with suppress(Downloading):
        source = Named(spooled(name, io.BytesIO(b"One.\n\nTwo."), cache))
        open_source(source, None, cache, Problems(skip=False), lambda what, share: None)
    return True


OPENED: dict[str, Callable[[str], object]] = {
    "--preset": preset,
    "--model": open_model,
    "SOURCE": open_model,
    "[MODEL]": open_model,
    "--init-from": lambda name: given_model(name, DataConfig()),
    "--judge": lambda name: load_judge(name).forward and forwards(load(name)),
    "--chooser": lambda name: load_judge(name).forward,
    "--data": _is_source,
    "TEXT|FILE": lambda name: [*islice(score._source(name, None, None), 1)],
}
"""What is done with what is completed, besides reading it."""
REQUIRED = {"convert": ["a", "b.bin"], "data": ["a"], "completion": ["zsh"]}


def test_every_value_that_is_completed_is_accepted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def download(*_: object, **__: object) -> None:
        raise Downloading

    monkeypatch.setattr(hub_dataset, "download", download)
    monkeypatch.chdir(tmp_path)
    named = set()
    for name in COMMANDS:
        arguments = [*REQUIRED.get(name, [])]
        for option in options_of(command_of(name)):
            flag = option.names[0]
            if option.choices and flag.startswith("-"):
                arguments += [flag, str(option.choices[-1])]
            elif not option.choices:
                named |= {(flag, value) for value in _NAMED.get(flag, ())}
        parse(command_of(name), arguments, name)
    for flag, value in named:
        assert OPENED[flag](value), (flag, value)


def test_every_option_says_what_it_is() -> None:
    for name in COMMANDS:
        for option in options_of(command_of(name)):
            assert option.about, (name, option.names)
            assert option.about.isprintable()
