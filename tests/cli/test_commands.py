import os
import re
import select
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import mlx_rev
from mlx_rev.__main__ import COMMANDS
from mlx_rev.text.order import WORD

Run = Callable[..., subprocess.CompletedProcess[str]]

WTAC = Path(__file__).parents[2] / "tools" / "wtac.py"
STORY = "Tom said, \"Look!\"\nHe ran home.\n\nThe end. It's 1 o'clock – très bien.\n"


Wtac = Callable[..., str]


@pytest.fixture
def wtac(run: Run) -> Wtac:
    """What it makes of a text."""

    def made_of(text: str, *flags: str) -> str:
        done = run("wtac", *flags, stdin=text)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return made_of


def test_a_byte_order_mark_is_no_text_for_wtac(wtac: Wtac) -> None:
    assert wtac("\ufeffTwo words.\n") == ".words Two\n"
    assert wtac("\ufeffTwo words.\n\ufeffb c\n", "--lines") == ".words Two\nc b\ufeff\n"


def test_wtac_turns_a_story_of_paragraphs_and_back(wtac: Wtac) -> None:
    turned = wtac(STORY)
    assert turned == WORD.reverse(STORY.removesuffix("\n")) + "\n"
    assert turned.startswith(".bien très")
    assert wtac(turned) == STORY


def test_wtac_keeps_combining_marks_and_can_do_as_the_article_did(wtac: Wtac) -> None:
    text = "un e\u0301te\u0301 chaud.\n"
    assert wtac(text) == ".chaud e\u0301te\u0301 un\n"
    article = wtac(text, "--article")
    assert article == WORD.reverse(text.removesuffix("\n")) + "\n"
    assert wtac(article, "--article") == text


def test_wtac_in_a_pipe() -> None:
    pipe = f"'{sys.executable}' '{WTAC}' | '{sys.executable}' '{WTAC}'"
    done = subprocess.run(["sh", "-c", pipe], input=STORY.encode(), capture_output=True, check=True)
    assert done.stdout == STORY.encode()


def test_wtac_by_lines(wtac: Wtac) -> None:
    expected = "".join(WORD.reverse(line) + "\n" for line in STORY.splitlines())
    assert wtac(STORY, "--lines") == expected
    assert wtac("no newline", "--lines") == "newline no"
    assert wtac("") == ""


def test_wtac_answers_a_line_before_the_next_comes() -> None:
    with subprocess.Popen(
        [sys.executable, WTAC, "--lines"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(b"one two\n")
        process.stdin.flush()
        assert select.select([process.stdout], [], [], 200)[0]
        assert os.read(process.stdout.fileno(), 100) == b"two one\n"
        process.stdin.close()


def test_wtac_names_bytes_that_are_no_utf8() -> None:
    done = subprocess.run([sys.executable, WTAC], input=b"a\xff", capture_output=True, check=False)
    assert done.returncode == 2
    assert b"byte 1 is not UTF-8" in done.stderr


def test_tell_writes_stories_that_end_as_typed(run: Run, trained: Path) -> None:
    ending = 'Tom was happy.  He said, "é!" '
    told = ("tell", ending, "--model", trained, "--max-tokens", 9, "--seed")
    done = run(*told, 3)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(ending + "\n")
    assert run(*told, 3).stdout == done.stdout
    assert run(*told, 4).stdout != done.stdout


def test_tell_several(run: Run, trained: Path) -> None:
    flags = ("--model", trained, "--max-tokens", 9)
    done = run("tell", "One day.", "The end.", *flags, "--count", 2)
    teller = mlx_rev.load(trained)
    first, second = (
        teller.tell_all([ending] * 2, seed=seed, max_tokens=9)
        for ending, seed in (("One day.", 0), ("The end.", 2))
    )
    assert done.stdout == "\n\n".join(story.text for story in first + second) + "\n"


def test_tell_is_what_python_tells(run: Run, trained: Path) -> None:
    told = mlx_rev.load(trained).tell("The end.", seed=5, temperature=0.5, max_tokens=9)
    settings = ("--seed", 5, "--temperature", 0.5, "--max-tokens", 9)
    done = run("tell", "The end.", "--model", trained, *settings)
    assert done.stdout == told.text + "\n"
    assert len(told.tokens) == len(told.surprises) > 0


def test_tell_says_what_it_does_not_read(run: Run, trained: Path) -> None:
    ending = "Tom went home. " * 60
    done = run("tell", ending, "--model", trained)
    assert done.returncode == 0
    assert done.stdout.endswith(ending + "\n")
    assert "longer than the model can read" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tell", "x", "--model", "nowhere"], "nowhere: no such model"),
        (["tell", "--model", "nowhere"], "no ending given"),
        (["tell", "x", "--top-p", "7"], "top_p is 7.0, expected over 0 and at most 1"),
        (["tell", "a▁b", "--model", "MODEL"], "U+2581"),
        (["qxq"], "unknown command 'qxq'; mlx-rev help lists the commands"),
        (["--pace", "0"], "expected a command before --pace, such as mlx-rev repl"),
        (["hlep"], "unknown command 'hlep'; did you mean help?"),
        (["score", "nowhere.txt", "--model", "MODEL"], "nowhere.txt: no such file"),
        (["prepare", "--data", "x.csv"], "unknown kind of corpus"),
        (["prepare", "--vocab-size", "10"], "vocab_size is 10"),
        (["prepare", "--data", "late.jsonl"], "late.jsonl: line 500 has no story"),
        (["prepare", "--data", "late.jsonl", "--cache", "late.jsonl"], "late.jsonl"),
        (["tell", "x", "--temperature", "inf"], "temperature is inf, expected 0 to 100"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    run: Run, trained: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    (tmp_path / "late.jsonl").write_text('"Tom saw a dog and ran home."\n' * 499 + "{}\n")
    named = [str(trained) if argument == "MODEL" else argument for argument in arguments]
    done = run(*named, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_cache_that_cannot_be_written_is_a_line_and_no_place_in_the_source(
    command_environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    changed = {"XDG_CACHE_HOME": str(tmp_path / "file"), "PYTHONWARNINGS": ""}
    done = subprocess.run(
        [sys.executable, "-m", "mlx_rev", "--version"],
        env=command_environment | changed,
        capture_output=True,
        text=True,
        check=True,
    )
    if sys.platform == "linux":
        [line] = done.stderr.splitlines()
        assert line.startswith("mlx-rev: training will be ten times slower: ")
        assert line.endswith("; fix that, or set XDG_CACHE_HOME to a folder of yours")


@pytest.mark.parametrize("command", [["wtac"], ["repl"], ["tell"]])
def test_closed_standard_input_is_empty(
    command: list[str], trained: Path, command_environment: dict[str, str]
) -> None:
    model = ["--model", str(trained)] if command == ["repl"] else []
    line = shlex.join([sys.executable, "-m", "mlx_rev", *command, *model]) + " <&-"
    done = subprocess.run(
        line, shell=True, env=command_environment, capture_output=True, text=True, check=False
    )
    assert "Traceback" not in done.stderr
    assert done.returncode == (2 if command == ["tell"] else 0)


def test_standard_output_of_little_means(
    trained: Path, command_environment: dict[str, str]
) -> None:
    line = shlex.join([sys.executable, "-m", "mlx_rev", "tell", "Café ☕ end.", "--model"])
    line += f" {trained} --max-tokens 4"
    done = subprocess.run(
        line,
        shell=True,
        env=command_environment | {"PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.endswith("Caf? ? end.\n"), done.stderr
    if Path("/dev/full").exists():
        done = subprocess.run(
            f"{line} >/dev/full",
            shell=True,
            env=command_environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 2
        assert done.stderr == "mlx-rev tell: No space left on device\n"


def test_the_repl_takes_lines_from_a_pipe(run: Run, trained: Path) -> None:
    done = run("repl", "--model", trained, stdin="The end.\nHe was happy.\n")
    assert done.returncode == 0, done.stderr
    assert "The end.\n" in done.stdout
    assert done.stdout.endswith("He was happy.\n")


def test_prepare_reports(run: Run, tiny_flags: list[str]) -> None:
    done = run("prepare", *tiny_flags[:6], "--context", 96, "--plain")
    assert done.returncode == 0, done.stderr
    for label in ("stories", "padding", "targets that see their story's boundary"):
        assert label in done.stdout


def test_prepare_shows_rows_as_training_reads_them(run: Run, tiny_flags: list[str]) -> None:
    done = run("prepare", *tiny_flags[:6], "--context", 96, "--show", 2, "--plain")
    assert done.returncode == 0, done.stderr
    assert re.findall(r"^row (\d) of ", done.stdout, re.MULTILINE) == ["1", "2"]
    assert "   reads  " in done.stdout
    assert "   model  " in done.stdout


def test_every_command_explains_itself(run: Run) -> None:
    assert all(name in run("--help").stdout for name in COMMANDS)
    for name in COMMANDS:
        done = run(name, "--help")
        assert done.returncode == 0
        assert len(done.stdout) > 200
    assert run("--version").stdout == f"mlx-rev {mlx_rev.__version__}\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("arguments", ["--help", "--version", "wtac --help"])
def test_help_that_cannot_be_written_is_no_traceback(
    command_environment: dict[str, str], arguments: str
) -> None:
    line = f"{shlex.quote(sys.executable)} -m mlx_rev {arguments}"
    done = [
        subprocess.run(
            shell, shell=True, env=command_environment, capture_output=True, text=True, check=False
        )
        for shell in (f"{line} >/dev/full", f"{{ {line}; echo $? >&2; }} | true")
    ]
    name = " ".join(["mlx-rev", *arguments.split()[:-1]])
    assert (done[0].returncode, done[0].stderr) == (2, f"{name}: No space left on device\n")
    assert done[1].stderr in ("141\n", "0\n")  # the reader may have gone too late to be missed
