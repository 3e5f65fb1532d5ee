"""Every command that is printed works as it stands, and every option that is named is there."""

import ast
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import mlx_rev
from mlx_rev import run_folder
from mlx_rev.__main__ import COMMANDS
from mlx_rev.formats import registry
from mlx_rev.formats.detect import open_model
from mlx_rev.program import program
from mlx_rev.repl.commands import COMMANDS as repl_commands
from mlx_rev.text.order import ORDERS
from mlx_rev.train.watchdog import resuming
from mlx_rev.ui.training import hints
from tests.conftest import Run

PACKAGE = Path(mlx_rev.__file__).parent
ODD = ("my run", "it's", 'a "b"', "$HOME", "`id`", "$(id)", "a\\b", "é;#&")
"""Names and endings that a shell would make something else of."""
OF_OTHERS = {
    *("--checkpoint", "--version"),  # llama2.c's export.py
    *("--verbose", "--max-tokens", "--prompt"),  # mlx_lm.generate
    *("--hostfile", "--tyro-print-completion", "--tyro-write-completion"),  # mlx.launch, tyro
}


def literals() -> Iterator[str]:
    """The text that the package has in it, of which docstrings are a part."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                yield "".join(
                    str(part.value) if isinstance(part, ast.Constant) else "{}"
                    for part in node.values
                )
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


@pytest.fixture(scope="module")
def options(run: Run) -> dict[str, set[str]]:
    """The options of each command, from its help."""
    return {
        command: set(re.findall(r"--[a-z][a-z0-9-]*", run(command, "--help").stdout))
        for command in COMMANDS
    }


def test_options_and_commands_that_messages_name_are_there(options: dict[str, set[str]]) -> None:
    typed = {option.name for command in repl_commands.values() for option in command.options}
    known = set().union(*options.values(), OF_OTHERS, typed)
    named = 0
    for text in literals():
        for option in re.findall(r"(?<![\w-])--[a-z][a-z-]*[a-z]\b(?!-)", text):
            named += 1
            assert option in known or option.replace("--no-", "--") in known, text
        for command, rest in re.findall(r"\bmlx-rev ([a-z]+)((?: --[a-z-]+)*)", text):
            assert set(re.findall(r"--[a-z-]+", rest)) <= options.get(command, set()), text
        assert set(re.findall(r"`mlx-rev ([a-z]+)", text)) <= set(COMMANDS), text
    assert named > 100


def commands(name: str, ending: str) -> Iterator[str]:
    """The commands that are printed of a run or model of that name."""
    run = Path(name)
    for line in hints(run, ending, finished=False):
        yield line.partition(":")[2].strip()
    yield resuming(run).rpartition(": ")[2]
    model = open_model("stories9m")
    for order in ORDERS:
        for known in registry.FORMATS:
            yield known.how_to_run(run, replace(model, order=order))


def as_a_shell_reads(arguments: str) -> list[str]:
    """What `mlx-rev` is given when they are pasted."""
    script = "printf '%s\\0' " + arguments
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    return done.stdout.split("\0")[:-1]


@pytest.mark.parametrize("odd", ODD)
def test_a_printed_command_is_understood(
    run: Run, odd: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is refused for the sake of what it names, which is not there, and for nothing else."""
    monkeypatch.chdir(tmp_path)
    latest = Path(odd, "checkpoints", "step-00000001")
    latest.mkdir(parents=True)
    (latest.parent / run_folder.LATEST).symlink_to(latest.name)
    printed = dict.fromkeys(commands(odd, odd))
    shutil.rmtree(odd)
    tried = 0
    for command in printed:
        ours = next((name for name in (program(), "mlx-rev") if command.startswith(name)), None)
        if ours is None:
            continue  # Run as it stands in tests/formats.
        rest = command.removeprefix(ours).replace("--data … --steps …", "--data bundled --steps 5")
        given = as_a_shell_reads(rest)
        assert given[0] != "tell" or given[1] in (odd, *(order.example for order in ORDERS)), (
            command
        )
        assert odd in given[2:], command
        done = run(*given)
        assert done.returncode == 2, command
        said = rf"mlx-rev {given[0]}: (--resume )?{re.escape(odd)}: no "
        assert re.match(said, done.stderr), (command, done.stderr)
        tried += 1
    assert tried >= 4
