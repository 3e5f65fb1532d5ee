from pathlib import Path

import pytest
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document

from mlx_rev.repl.line import CommandCompleter, _history


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
        ("/model x --reversal w", [f"/model x --reversal {name}" for name in ("word2", "word")]),
        ("/compare x --tok", ["/compare x --tokenizer"]),
        ("/save x.md --", ["/save x.md --force"]),
        ("/score --", []),
        ("Once --t", []),
    ],
)
def test_commands_and_options_are_completed(typed: str, lines: list[str]) -> None:
    assert completed(typed) == lines


@pytest.mark.parametrize("typed", ["/save ", "/export --force ", "/model x --tokenizer "])
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
