"""`mlx-rev repl` where there is no terminal: pipes, JSON, and what the shell sees."""

import io
import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from mlx_rev.cli import repl
from mlx_rev.cli.flags import parse
from mlx_rev.config import SampleConfig
from mlx_rev.formats.detect import built_in_model
from mlx_rev.generate.teller import load
from mlx_rev.repl.replies import Reply, Says
from mlx_rev.repl.session import Session
from mlx_rev.repl.view import View
from mlx_rev.ui.console import make_console

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(autouse=True)
def _interruptible() -> Iterator[None]:
    """Ctrl-C interrupts, also where the tests run in a shell's background, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


ENDINGS = ["He was happy.", 'She said, "Yes!" ']


def test_each_line_is_an_ending(run: Run, trained: Path) -> None:
    flags = ("--model", trained, "--max-tokens", 12, "--seed")
    done = run("repl", *flags, 5, stdin="\n".join(ENDINGS))
    assert done.returncode == 0, done.stderr
    first, second = (
        run("tell", ending, *flags, seed).stdout
        for ending, seed in zip(ENDINGS, (5, 6), strict=True)
    )
    assert done.stdout == first + "\n" + second


def test_a_long_line_is_said_to_be_cut_and_windows_line_ends_are_none(
    command_environment: dict[str, str], trained: Path
) -> None:
    ending = b"Tom went home. " * 80
    done = subprocess.run(
        [sys.executable, "-m", "mlx_rev", "repl", "--model", trained, "--json"],
        input=b"He was happy.\r\n" + ending + b"\r\n",
        capture_output=True,
        env=command_environment,
        check=False,
    )
    assert done.returncode == 0
    assert done.stderr.startswith(b"mlx-rev repl: line 2: That is longer than the model can read")
    assert len(done.stderr.splitlines()) == 1
    found = [json.loads(line)["ending"] for line in done.stdout.splitlines()]
    assert found == ["He was happy.", ending.decode()]


def test_a_closed_standard_input_is_an_empty_one(
    command_environment: dict[str, str], trained: Path
) -> None:
    done = subprocess.run(
        [
            "/bin/sh",
            "-c",
            '"$@" <&-',
            "sh",
            sys.executable,
            "-m",
            "mlx_rev.repl",
            "--model",
            trained,
        ],
        capture_output=True,
        env=command_environment,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_an_object_a_line(run: Run, trained: Path) -> None:
    done = run("repl", "--model", trained, "--seed", 5, "--json", stdin="\n".join(ENDINGS) + "\n")
    assert done.returncode == 0, done.stderr
    objects = [json.loads(line) for line in done.stdout.splitlines()]
    assert [found["ending"] for found in objects] == ENDINGS
    assert [found["seed"] for found in objects] == [5, 6]
    for found in objects:
        assert found["story"].endswith(found["ending"])
        assert found["tokens"] > 0
        assert found["seconds"] > 0
        assert (found["model"], found["reference"]) == (trained.name, str(trained))
        assert found["settings"] == {
            name: value for name, value in asdict(SampleConfig()).items() if name != "seed"
        }


def test_a_line_that_makes_no_sense_is_named_and_the_others_answered(
    run: Run, trained: Path
) -> None:
    done = run("repl", "--model", trained, stdin="a▁b\nHe was happy.\n")
    assert done.returncode == 2
    assert done.stderr.startswith("mlx-rev repl: line 1: ")
    assert "U+2581" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout.endswith("He was happy.\n")


@pytest.mark.parametrize("text", ["", "\x00\x1b[31m\n", "/quit\n", "exit\n", "🙂" * 2000 + "\n"])
def test_odd_lines_are_endings_too(run: Run, trained: Path, text: str) -> None:
    done = run("repl", "--model", trained, "--max-tokens", 3, "--json", stdin=text)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [each["ending"] for each in found] == text.splitlines()
    assert all(each["story"].endswith(each["ending"]) for each in found)


def test_empty_lines_are_skipped(run: Run, trained: Path) -> None:
    flags = ("--model", trained, "--max-tokens", 3, "--json")
    done = run("repl", *flags, stdin="\n \n\t\r\nHe was happy.\n\n")
    assert (done.returncode, done.stderr) == (0, "")
    [line] = done.stdout.splitlines()
    assert json.loads(line)["ending"] == "He was happy."


def test_what_is_for_a_terminal_is_none_for_a_pipe(run: Run) -> None:
    done = run("repl", "--continue", stdin="He was happy.\n")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "mlx-rev repl: --continue is for a terminal, but standard input is not one\n"
    )
    command = parse(repl.ReplCommand, ["--continue", "--no-transcript"], "repl")
    assert (command.resume, command.transcript) == (True, False)


def test_bytes_that_are_no_utf8_are_named(
    command_environment: dict[str, str], trained: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mlx_rev.repl", "--model", trained],
        input=b"a\xff\n",
        capture_output=True,
        env=command_environment,
        check=False,
    )
    assert done.returncode == 2
    assert b"not UTF-8" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_closed_pipe_is_no_traceback(command_environment: dict[str, str], trained: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "mlx_rev", "repl", "--model", trained, "--max-tokens", "5"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=command_environment,
    ) as process:
        assert process.stdout
        process.stdout.close()
        _, error = process.communicate(b"One day.\n" * 4, timeout=400)
    assert error == b""
    assert process.returncode in (0, 141)


def test_the_built_in_model_is_taken_with_no_network(
    command_environment: dict[str, str], tmp_path: Path
) -> None:
    environment = {
        **command_environment,
        "HF_HUB_OFFLINE": "1",
        "https_proxy": "http://127.0.0.1:9",
    }
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-m", "mlx_rev", "tell", "The end.", "--max-tokens", "20"],
        capture_output=True,
        text=True,
        env=environment,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("The end.\n")
    assert [*tmp_path.iterdir()] == []


class Refusing:
    """A session that the system refuses something at the first line."""

    prompt, draft = "> ", None

    def greeting(self) -> str:
        return "hello"

    def respond(self, line: str) -> Iterator[Reply]:
        if line == "first":
            raise PermissionError(13, "Permission denied", "some/file")
        yield Says("second answer")

    tell = respond


def test_what_the_system_refuses_is_a_line_and_the_conversation_goes_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("mlx_rev.repl.line.typed_lines", lambda *_: ["first", "second"])
    output = io.StringIO()
    view = View(make_console(output, plain=True))
    repl._converse(Refusing(), view, tmp_path, live=False)  # type: ignore[arg-type]
    assert "some/file: Permission denied\nsecond answer\n" in output.getvalue()


def test_what_the_system_refuses_is_said_with_the_line_in_pipes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"first\n")))
    assert repl._answer_lines(Refusing(), as_json=False) == 2  # type: ignore[arg-type]
    assert capsys.readouterr().err == "mlx-rev repl: line 1: some/file: Permission denied\n"


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
@pytest.mark.parametrize("live", [True, False])
def test_what_is_typed_while_a_command_works_is_echoed_only_where_no_story_grows(
    live: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import os
    import termios

    _, terminal = os.openpty()
    echoes = []

    class Working:
        told = ()
        prompt = draft = example = ""

        def greeting(self) -> str:
            return ""

        def respond(self, line: str) -> Iterator[Reply]:
            echoes.append(bool(termios.tcgetattr(terminal)[3] & termios.ECHO))
            yield Says("done")

    with os.fdopen(terminal) as stdin:
        monkeypatch.setattr("sys.__stdin__", stdin)
        monkeypatch.setattr("mlx_rev.repl.line.typed_lines", lambda *_: ["first"])
        view = View(make_console(io.StringIO(), plain=True))
        repl._converse(Working(), view, tmp_path, live=live)  # type: ignore[arg-type]
        echoes.append(bool(termios.tcgetattr(terminal)[3] & termios.ECHO))
    assert echoes == [not live, True]


def test_under_plain_nothing_is_framed_and_an_interrupt_ends_an_export(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lines = [
        "The end.",
        "/candidates 2",
        f"/export {tmp_path / 'a.bin'}",
        f"/export {tmp_path / 'b'}",
    ]
    monkeypatch.setattr("mlx_rev.repl.line.typed_lines", lambda *_: lines)
    output = io.StringIO()
    interrupts = iter([signal.SIGINT])

    def progress(*_: object) -> None:
        for number in interrupts:
            signal.raise_signal(number)

    source = str(built_in_model())
    session = Session(load(source), source, SampleConfig(max_tokens=3), progress)
    repl._converse(session, View(make_console(output, plain=True)), tmp_path, live=False)
    text = output.getvalue()
    assert re.search(r"^2(, the best)?: ", text, re.MULTILINE)
    assert text.count("stopped\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["b"]
    assert "mlx, float32" in text
    assert not set(text) & set("│┃─━╭╰")


def test_under_plain_an_interrupt_ends_a_story_and_keeps_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("mlx_rev.repl.line.typed_lines", lambda *_: ["The end."])
    source = str(built_in_model())
    session = Session(load(source), source)
    write = session.teller.write

    def interrupted(*arguments: object) -> Iterator[object]:
        for event in write(*arguments):  # type: ignore[arg-type]
            signal.raise_signal(signal.SIGINT)
            yield event

    monkeypatch.setattr(session.teller, "write", interrupted)
    repl._converse(session, View(make_console(io.StringIO(), plain=True)), tmp_path, live=False)
    assert [len(story.tokens) for story in session.told] == [1]
