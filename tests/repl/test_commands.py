import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_rev.errors import ConfigError
from mlx_rev.repl.commands import COMMANDS, Command, help_text, read


def test_only_a_slash_at_the_start_makes_a_command() -> None:
    assert read("They went home.") is None
    assert read(" /again") is None
    assert read("") is None
    assert read("/again") == Command("again", "")
    assert read("/tokens  two  words ") == Command("tokens", "two  words")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("/agian", "unknown command /agian; did you mean /again?"),
        ("/scor x", "unknown command /scor; did you mean /score?"),
        ("/", "unknown command /; expected one of /again, /candidates"),
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
        command = read("/" + text)
    except ConfigError:
        return
    assert command is not None
    assert command.name in COMMANDS


def test_help_names_every_command_once() -> None:
    lines = help_text().split("\n")
    for name in COMMANDS:
        assert sum(line.split(" ")[0] == f"/{name}" for line in lines) == 1
