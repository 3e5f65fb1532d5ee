"""What is said of flags: in one line where they are wrong, at length where help is asked for."""

import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import pytest
import tyro

from mlx_rev.__main__ import main
from mlx_rev.cli.completion import command_of
from mlx_rev.cli.flags import options_of, parse
from mlx_rev.cli.help import COMMANDS, examples
from mlx_rev.errors import ConfigError
from tests.conftest import Run


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "tell x --temprature 3 --coutn=4",
            "mlx-rev tell: unknown options --temprature (did you mean --temperature?), --coutn "
            "(did you mean --count?); see mlx-rev tell --help",
        ),
        ("tell x --zzz", "mlx-rev tell: unknown option --zzz; see mlx-rev tell --help"),
        ("tell x --count q", "mlx-rev tell: --count: expected a whole number, found 'q'"),
        ("tell x --top-p 1,5", "mlx-rev tell: --top-p: expected a number, found '1,5'"),
        ("tell x --model", "mlx-rev tell: --model: no value given; see mlx-rev tell --help"),
        (
            "tell x --reversal wurd",
            "mlx-rev tell: --reversal: expected one of word2 | word | token | none | word2,none | "
            "word,none | token,none, found 'wurd'",
        ),
        ("convert a", "mlx-rev convert: TARGET missing; see mlx-rev convert --help"),
        (
            "wtac these words",
            "mlx-rev wtac: unexpected 'these'; put several words in quotes, or see mlx-rev wtac "
            "--help",
        ),
        ("completion", "mlx-rev completion: SHELL missing; see mlx-rev completion --help"),
        (
            "train --preset tiny --stepps 3",
            "mlx-rev train: preset 'tiny': unknown, expected one of quick, 260k, 15m, 42m, 110m; "
            "unknown option --stepps (did you mean --steps?); see mlx-rev train --help",
        ),
        ("train --preset", "mlx-rev train: --preset: no value given; see mlx-rev train --help"),
        ("trian", "mlx-rev: unknown command 'trian'; did you mean train?"),
        ("help trian", "mlx-rev: unknown command 'trian'; did you mean train?"),
        (
            "'They all went home.'",
            "mlx-rev: expected a command; for a story with this ending, mlx-rev tell ENDING",
        ),
    ],
)
def test_wrong_flags_are_named_in_one_line(run: Run, line: str, message: str) -> None:
    done = run(*shlex.split(line))
    assert (done.returncode, done.stdout, done.stderr) == (2, "", message + "\n")


def test_resuming_what_is_no_run_says_which_runs_there_are(run: Run, tmp_path: Path) -> None:
    done = run("train", "--resume", "runs/nope", cwd=tmp_path)
    assert done.stderr == (
        "mlx-rev train: --resume runs/nope: no training run (it has no config.toml); nor is there "
        "one in runs\n"
    )
    for name in ("one", "two"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "config.toml").touch()
    done = run("train", "--resume", "runs/nope", cwd=tmp_path)
    assert done.stderr.endswith("; there are runs/one, runs/two\n")


@pytest.mark.parametrize("terminals", [{0, 1}, {0}, {1}, set()])
def test_alone_in_a_terminal_it_is_the_repl(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], terminals: set[int]
) -> None:
    asked: list[str] = []
    monkeypatch.setattr("mlx_rev.__main__.run", lambda command, *_, **__: asked.append(command))
    monkeypatch.setattr("sys.stdin.isatty", lambda: 0 in terminals, raising=False)
    monkeypatch.setattr("sys.stdout.isatty", lambda: 1 in terminals, raising=False)
    main([])
    assert asked == ["repl"] * (terminals == {0, 1})
    assert ("usage: mlx-rev" in capsys.readouterr().out) == (terminals != {0, 1})


@pytest.mark.parametrize("name", COMMANDS)
def test_help_says_what_a_command_does_its_options_and_examples(run: Run, name: str) -> None:
    asked, flag = run("help", name), run(name, "--help")
    assert asked.returncode == flag.returncode == 0
    assert asked.stdout == flag.stdout
    assert asked.stdout.startswith(f"usage: mlx-rev {name} ")
    assert asked.stdout.endswith(f"\n\n{examples(name, f'mlx-rev {name}')}")
    assert "{None}" not in asked.stdout
    assert max(map(len, run("help").stdout.splitlines())) <= 80
    for title in ("choice options", "sample options", "train options"):
        assert title not in asked.stdout


def test_the_lines_of_help_are_full(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = [line.strip("│ ") for line in run("help", "tell").stdout.splitlines()]
    start = lines.index(next(line for line in lines if line.startswith("--best-of")))
    assert len(lines[start + 1]) > 50
    assert "(default: )" not in " ".join(lines)


@pytest.mark.parametrize("name", COMMANDS)
def test_examples_are_flags_that_a_command_has(name: str) -> None:
    command = command_of(name)
    for example in COMMANDS[name].examples:
        arguments = shlex.split(example.partition("<")[0].partition(">")[0])
        assert parse(command, arguments, name)


@dataclass(frozen=True, kw_only=True)
class Inner:
    """Inside."""

    top_k: int | None = None
    """A number."""
    compile: bool = True
    """A switch."""


@dataclass(frozen=True, kw_only=True)
class OuterCommand:
    """Outside."""

    inner: Annotated[Inner, tyro.conf.arg(name="named")] = field(default_factory=Inner)
    to: Path | None = None
    """A path."""


def test_the_flags_that_are_known_are_those_that_are_taken() -> None:
    names = [each.names for each in options_of(OuterCommand)]
    assert names == [("--top-k",), ("--compile", "--no-compile"), ("--to",)]
    flags = ["--top-k", "3", "--no-compile", "--to", "x"]
    expected = OuterCommand(inner=Inner(top_k=3, compile=False), to=Path("x"))
    assert parse(OuterCommand, flags, "p") == expected
    with pytest.raises(ConfigError, match=r"unknown option --top_kk \(did you mean --top-k\?\)"):
        parse(OuterCommand, ["--top_kk", "3"], "p")
