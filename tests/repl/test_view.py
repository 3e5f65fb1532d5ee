"""How replies look, with and without colours, on wide and narrow screens."""

import io
import os
import re

import pytest
from rich.console import Console

from mlx_rev.config import SampleConfig
from mlx_rev.generate.story import Story
from mlx_rev.repl.replies import Alternatives, Edits, Lists, Offers, Pieces, Reply, Shades, Tells
from mlx_rev.repl.transcript import Settled
from mlx_rev.repl.view import View
from mlx_rev.ui.console import THEME, make_console, say

SHADES = Shades((("One", 9.6), (" ", 0.2), ("day", 4.4), (" ran", 1.2), ("!", 0.9), ("End.", None)))


def shown(reply: Reply, *, columns: int = 80, colours: bool = True, plain: bool = False) -> str:
    output = io.StringIO()
    if plain:
        console = make_console(output, plain=True)
        console.width = columns
    else:
        console = Console(
            file=output,
            width=columns,
            theme=THEME,
            force_terminal=True,
            color_system="truecolor",
            no_color=not colours,
            highlight=False,
        )
    View(console).show(reply)
    return output.getvalue()


def unstyled(text: str) -> str:
    return re.sub(r"\x1b\[[\d;]*m", "", text)


def story(text: str, number: int = 1) -> Story:
    own = Story(prompt="End.", spelling=(1,), leftwards=True, growth=Settled(text), seed=number)
    own.stop("boundary")
    return own


def test_surprises_have_styles_that_differ_without_their_colours() -> None:
    text = shown(SHADES)
    assert "One day ran!End." in unstyled(text)
    styles = {
        word: re.findall(rf"\x1b\[([\d;]*)m{word}", text)[0]
        for word in ("One", "day", " ", "!", "End")
    }
    assert "4" in styles["One"].split(";")  # underlined
    assert styles["day"] == "31"
    assert styles[" "] == styles["!"] == "2"
    assert "33" not in text  # yellow cannot be read on white


@pytest.mark.parametrize("how", [{"plain": True}, {"colours": False}])
def test_without_colours_surprises_have_figures(how: dict[str, bool]) -> None:
    text = shown(SHADES, **how)
    assert unstyled(text).startswith("One[10] day[4] ran[1]!End.\n")
    assert "in brackets: bits" in text
    gaps = Shades((("One", 0.0), ("\n", 5.0), ("day", 0.0), (" ", 2.0), ("ran", 2.0)))
    assert unstyled(shown(gaps, **how)).startswith("One⏎[5]\nday␣[2] ran[2]\n")


@pytest.mark.parametrize("how", [{"plain": True}, {"colours": False}, {}])
def test_pieces_are_told_apart_without_colours(how: dict[str, bool]) -> None:
    pieces = Pieces(((" the", 7), ("\n", 8), ("<0xE4>", 9), ("1", 10), ("\x1b", 11)))
    assert unstyled(shown(pieces, **how)).split() == [
        "⟨␣the⟩7", "⟨⏎⟩8", "⟨<0xE4>⟩9", "⟨1⟩10", "⟨␛⟩11"
    ]  # fmt: skip


@pytest.mark.parametrize(("columns", "beside"), [(80, 1), (100, 2), (200, 4), (30, 1)])
def test_offers_stand_side_by_side_where_there_is_room(columns: int, beside: int) -> None:
    stories = tuple(story("One day they ran home. " * 3, number) for number in range(4))
    text = unstyled(shown(Offers(stories, ("a", "b", "c", "d"), pick=True), columns=columns))
    lines = text.rstrip().split("\n")
    assert lines[0].count("╭") == beside
    assert max(map(len, lines)) <= columns
    assert sum(line.count("╭") for line in lines) == 4
    assert "type a number" in lines[-1] or columns == 30


def test_what_was_given_is_marked_at_both_ends() -> None:
    own = story("A fox ran. It slept. ")
    own.beginning = "A fox ran."
    for reply in (Tells(own), Offers((own,), ("1",))):
        given = re.findall(r"\x1b\[1;35m(.+?)\x1b\[0m", shown(reply))
        assert given == ["A fox ran.", "End."]


def test_the_best_is_marked() -> None:
    stories = (story("One. "), story("Two. "))
    for plain in (False, True):
        text = shown(Offers(stories, ("1", "2"), pick=True, best=1), plain=plain)
        assert text.count("the best") == 1
        assert "2, the best" in text


def test_lists_fit_narrow_screens() -> None:
    rows = (("/a-command [WITH ARGUMENT]", "what it does in so many words"), ("/b", "that"))
    wide = unstyled(shown(Lists(rows), columns=80)).rstrip().split("\n")
    assert [line.split()[0] for line in wide] == ["/a-command", "/b"]
    narrow = unstyled(shown(Lists(rows, "after"), columns=40)).rstrip().split("\n")
    assert narrow == [rows[0][0], f"  {rows[0][1]}", "/b", "  that", "after"]


@pytest.mark.parametrize("columns", [20, 40, 80, 200])
def test_alternatives_show_what_stands_beside_them_where_there_is_room(columns: int) -> None:
    words = (("fox", 0.5), ("cat\n", 0.25), ("", 0.0001))
    reply = Alternatives("fox", words, "ran home with the dog " * 4, leftwards=True)
    lines = unstyled(shown(reply, columns=columns)).split("\n")[:3]
    assert lines[0].startswith(" 1   50.0%  fox")
    assert lines[1].startswith(" 2   25.0%  cat⏎")
    assert lines[2].startswith(" 3  < 0.1%  ◆ (the"[:columns])
    assert ("as it stands" in lines[0]) == ("ran home" in lines[1]) == (columns >= 80)
    assert max(len(line.rstrip()) for line in lines) <= columns


def test_the_figures_of_a_story_fit_in_a_line() -> None:
    own = story("One. ")
    for token in range(1000):
        own.grow(token % 100, b"", 10.0)
    own.seconds = 100.0
    own.settings = SampleConfig()
    for reason in ("boundary", "length", "stopped"):
        own.stop(reason)  # type: ignore[arg-type]
        assert len(shown(Tells(own), plain=True).split("\n")[0]) <= 72


def test_it_is_said_how_a_story_is_changed() -> None:
    assert "Ctrl-C leaves it" in shown(Edits("x"), plain=True)
    assert "in your editor" in shown(Edits("x", in_editor=True), plain=True)


def test_a_dumb_terminal_shows_what_is_edited(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "A fox ran." not in shown(Edits("A fox ran."))
    monkeypatch.setenv("TERM", "dumb")
    assert "A fox ran." in shown(Edits("A fox ran."))
    assert "A fox ran." not in shown(Edits("A fox ran.", in_editor=True))


def test_a_dumb_terminal_has_a_width_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr("shutil.get_terminal_size", lambda: os.terminal_size((40, 12)))
    assert make_console(io.StringIO()).width == 40


@pytest.mark.parametrize("terminal", [True, False])
def test_a_sentence_is_wrapped_at_words_where_a_person_reads_it(terminal: bool) -> None:
    console = Console(file=io.StringIO(), width=20, force_terminal=terminal, highlight=False)
    say(console, "It was 3.0849 bits per byte.")
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert len(lines) == (2 if terminal else 1)
    assert lines[0].startswith("It was 3.0849 bits")
