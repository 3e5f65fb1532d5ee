import shlex
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prompt_toolkit.application import create_app_session
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput

from mlx_rev.repl.commands import read
from mlx_rev.repl.line import Asked, CommandCompleter, _history, _words, typed_lines
from mlx_rev.text.order import ORDER_NAMES


def completed(text: str) -> list[str]:
    """Each line that the completer would make of one."""
    found = CommandCompleter().get_completions(Document(text), CompleteEvent())
    return [text[: len(text) + each.start_position] + each.text for each in found]


@pytest.mark.parametrize(
    ("typed", "lines"),
    [
        ("/exp", ["/export"]),
        ("/set temp", ["/set temperature"]),
        ("/export --t", ["/export --to"]),
        (
            "/export x.bin ",
            [f"/export x.bin {option}" for option in ("--to", "--dtype", "--force")],
        ),
        ("/export x.bin --force --t", ["/export x.bin --force --to"]),
        ("/export x.bin --to g", ["/export x.bin --to gguf"]),
        ("/export --dtype q", ["/export --dtype q8"]),
        ("/model x --rev", ["/model x --reversal"]),
        (
            "/model x --reversal w",
            [f"/model x --reversal {name}" for name in ORDER_NAMES if name.startswith("w")],
        ),
        ("/compare x --tok", ["/compare x --tokenizer"]),
        ("/save x.md --", ["/save x.md --story", "/save x.md --force"]),
        ("/EXP", ["/export"]),
        ("/conv", ["/convert"]),
        ("/convert x --t", ["/convert x --to"]),
        ("/exp\tx --t", ["/exp\tx --to"]),
        ("/begin ", ["/begin --judge"]),
        ("/begin --judge model --", []),
        ("/begin Once ", []),
        ("/begin Once --judge ", []),
        ("/help cu", ["/help cut"]),
        ("/help ke", ["/help keys"]),
        ("/edit --", ["/edit --editor"]),
        ("/score --", []),
        ("Once --t", []),
    ],
)
def test_commands_and_options_are_completed(typed: str, lines: list[str]) -> None:
    assert completed(typed) == lines


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        ("/save my", '/save "my stories/'),
        ('/save "my', '/save "my stories/'),
        ("/save 'my s", '/save "my stories/'),
        ("/save my\\ s", '/save "my stories/'),
        ('/save "my stories/', '/save "my stories/the end.md"'),
        ("/save my\\ stories/t", '/save "my stories/the end.md"'),
        ("/save --force sim", "/save --force simple/"),
        ("/save simple/", "/save simple/plain.md"),
        ("/save quo", '/save "quo\\"te.md"'),
        ('/save "my stories/the end.md" --f', '/save "my stories/the end.md" --force'),
    ],
)
def test_paths_with_spaces_are_quoted_and_folders_have_a_slash(
    typed: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("my stories/the end.md", "simple/plain.md", 'quo"te.md'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert completed(typed) == [line]
    found = read(completed(typed)[0].rstrip("/") + ('"' if line.endswith("stories/") else ""))
    assert found is not None
    assert (tmp_path / found.argument).exists()


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1))
def test_a_quoted_path_is_read_back(name: str) -> None:
    typed = '"' + name.replace("\\", "\\\\").replace('"', '\\"')
    assert _words(typed) == ([], name, len(typed))
    assert _words(f'first {typed}" ') == (["first", name], "", 0)
    assert _words(shlex.quote(name))[1] == name


@pytest.mark.parametrize(
    "typed", ["/save ", "/export --force ", "/model x --tokenizer ", "/begin --judge "]
)
def test_paths_are_completed_where_one_is_wanted(
    typed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "story.md").touch()
    assert completed(typed) == [typed + "story.md"]


def test_a_history_that_cannot_be_written_is_kept_in_the_session(tmp_path: Path) -> None:
    history = _history(tmp_path / "state" / "history")
    (tmp_path / "state" / "history").unlink()
    (tmp_path / "state").rmdir()
    history.append_string("They went home.")
    history.append_string("a\udcff")
    assert history.get_strings() == ["They went home.", "a\udcff"]


def test_what_was_typed_is_readable_by_nobody_else(tmp_path: Path) -> None:
    path = tmp_path / "state" / "history"
    path.parent.mkdir()
    path.touch(mode=0o644)  # as an earlier version made it
    _history(path).append_string("They went home.")
    assert path.stat().st_mode & 0o777 == 0o600
    assert [*_history(path).load_history_strings()] == ["They went home."]


def test_enter_alone_puts_the_example_into_the_line() -> None:
    asked = [Asked("> ", example="The end."), Asked("> ", example="The end."), Asked("> ")]
    with create_pipe_input() as keys, create_app_session(input=keys, output=DummyOutput()):
        keys.send_text("\rmine\r\r")
        lines = typed_lines(None, lambda: asked.pop(0))
        assert [next(lines) for _ in range(3)] == ["The end.", "mine", ""]


def test_enter_ends_a_search_before_it_takes_the_example() -> None:
    with create_pipe_input() as keys, create_app_session(input=keys, output=DummyOutput()):
        keys.send_text("\x12\rmine\r\x07\x04")  # the last two leave what is dead
        lines = typed_lines(None, lambda: Asked("> ", example="The end."))
        assert next(lines) == "mine"
