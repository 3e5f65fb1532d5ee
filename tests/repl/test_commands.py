from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_rev.errors import ConfigError
from mlx_rev.repl.commands import COMMANDS, TOPICS, explained, read
from mlx_rev.repl.replies import Leaves, Lists, Says
from mlx_rev.repl.session import Session
from tools import repl_page


def test_only_a_slash_at_the_start_makes_a_command() -> None:
    assert read("They went home.") is None
    assert read(" /again") is None
    assert read("") is None
    again, tokens = read("/again"), read("/tokens  two  words ")
    assert again is not None
    assert (again.name, again.rest) == ("again", "")
    assert tokens is not None
    assert (tokens.name, tokens.rest) == ("tokens", "two  words")


@pytest.mark.parametrize(
    ("line", "name"),
    [
        *((line, "quit") for line in ("exit", "quit", "/exit", "/bye", "/quit", "/QUIT", "exit ")),
        *((line, "export") for line in ("/convert x", "/CONV x", "/exp x")),
        *((line, "alternatives") for line in ("/alt", "/Alternat fox")),
        *((line, "tokens") for line in ("/tokens\ta", "/tokens\u3000a", "/tok\na")),
        *((line, "settings") for line in ("/sett", "/settings")),
        *((line, "set") for line in ("/set seed 1", "/set\tseed 1")),
        *((line, "help") for line in ("/?", "help", "/HELP", "/help", "/Help cut", "?")),
    ],
)
def test_other_names_of_commands(line: str, name: str) -> None:
    found = read(line)
    assert found is not None
    assert found.name == name


@pytest.mark.parametrize("line", [" exit", "exit now", "Exit", "quit.", "? ?", "helpful"])
def test_endings_that_begin_like_other_names(line: str) -> None:
    assert read(line) is None


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("/agian", "unknown command /agian; did you mean /again?"),
        ("/SCROE x", "unknown command /SCROE; did you mean /score?"),
        ("/covnert x", "unknown command /covnert; did you mean /convert?"),
        ("/al", "unknown command /al; /help lists the commands"),
        ("/se x", "unknown command /se; did you mean /set?"),
        ("/convert", "/export needs TARGET, as in /export story.gguf"),
        ("/", "unknown command /; /help lists the commands"),
        ("/score", "/score needs TEXT"),
        ("/quit now", "/quit takes no argument, found 'now'"),
    ],
)
def test_what_is_wrong_is_said_with_what_would_be_right(line: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        read(line)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@given(st.text())
def test_a_line_is_an_ending_a_command_or_refused(text: str) -> None:
    try:
        found = read("/" + text)
    except ConfigError:
        return
    assert found is not None
    assert found.name in COMMANDS


def test_help_names_every_command_once_in_80_columns(session: Session) -> None:
    [listed] = session.respond("/help")
    assert isinstance(listed, Lists)
    assert [left.split(" ")[0] for left, _ in listed.rows] == [f"/{name}" for name in COMMANDS]
    width = max(len(left) for left, _ in listed.rows) + 2
    assert [right for _, right in listed.rows if width + len(right) > 80] == []
    assert max(map(len, listed.after.split("\n"))) <= 80


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_is_explained_with_an_example_that_is_one(name: str, session: Session) -> None:
    command = COMMANDS[name]
    for asked in (name, f"/{name}", name.upper()):
        assert list(session.respond(f"/help {asked}")) == [Says(explained(command))]
    assert f"Example: {command.example}" in explained(command)
    example = read(command.example)
    assert example is not None
    assert example.name == name


@pytest.mark.parametrize(("line", "topic"), [("?", "figures"), ("/help keys", "keys")])
def test_what_is_no_command_is_explained_too(line: str, topic: str, session: Session) -> None:
    assert list(session.respond(line)) == [Lists(TOPICS[topic])]


def test_help_for_what_is_not_there(session: Session) -> None:
    with pytest.raises(ConfigError, match=r"^/help figres: did you mean figures\?$"):
        list(session.respond("/help figres"))
    with pytest.raises(ConfigError, match=r"^/help xyzzy: /help lists the commands$"):
        list(session.respond("/help xyzzy"))


def test_leaving(session: Session) -> None:
    for line in ("/quit", "exit", "/bye"):
        assert list(session.respond(line)) == [Leaves()]


def test_the_page_is_what_the_commands_say() -> None:
    page = Path(__file__).parents[2] / "docs" / "repl.md"
    assert page.read_text(encoding="utf-8") == repl_page.page(), "run python tools/repl_page.py"
