"""Growing stories on a screen: what fits, what a resize leaves, what is typed meanwhile."""

import time
from collections.abc import Iterator

import pyte
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prompt_toolkit.data_structures import Size
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.input.typeahead import get_typeahead
from prompt_toolkit.output.vt100 import Vt100_Output

from mlx_rev.generate.story import Story
from mlx_rev.repl import growing
from mlx_rev.repl.replies import Grows, Leaves, Meets, Reply
from mlx_rev.repl.transcript import Settled
from mlx_rev.text.stream import Leftwards

ENDING = "and they all went home."


def told(words: int, number: int = 1) -> Story:
    growth = Leftwards(b"once " * words, drops_space=False)
    return Story(prompt=ENDING, spelling=(1,), leftwards=True, growth=growth, seed=number)


def lines(stories: int, rows: int, columns: int = 80, words: int = 60) -> list[str]:
    shown = [told(words, number) for number in range(stories)]
    return drawn(Grows(tuple(shown)), columns, rows)


def drawn(shown: Grows, columns: int, rows: int) -> list[str]:
    styled = growing.screen(shown, columns, rows)
    return "".join(text for _, text, *_ in styled).split("\n")


@given(st.integers(1, 16), st.integers(4, 60), st.integers(2, 120))
def test_stories_fit_on_any_screen(stories: int, rows: int, columns: int) -> None:
    shown = lines(stories, rows, columns)
    assert len(shown) < rows
    assert max(map(len, shown)) <= columns


@pytest.mark.parametrize(("stories", "shown"), [(1, 1), (5, 5), (7, 7), (16, 7)])
def test_as_many_stories_as_fit_are_shown_and_the_others_counted(stories: int, shown: int) -> None:
    rows = lines(stories, 24)
    assert sum("tokens/s" in row for row in rows) == shown
    assert (rows[-1] == f"and {stories - shown} more") == (stories > shown)


@pytest.mark.parametrize("columns", [12, 20, 30, 40, 50, 70])
def test_of_the_figures_those_are_shown_that_have_room(columns: int) -> None:
    figures = "… 0 tokens · 0 tokens/s · 0.00 bits per token · seed 0"
    shown = lines(1, 24, columns, words=1)[-1]
    assert figures == shown or figures.startswith(f"{shown} · ")
    assert len(shown) <= columns


def test_the_hidden_lines_are_counted_where_a_narrow_screen_shows_it() -> None:
    assert lines(1, 5, 40, words=24)[-1].startswith("1 more line below · …")
    assert lines(2, 12, 40)[-1].startswith("2: 5 more lines below · …")


def test_a_story_takes_as_many_rows_as_it_needs_and_the_cursor_is_at_its_newest_word() -> None:
    for words, needed in ((1, 1), (20, 2), (60, 5), (600, 22)):
        shown = lines(1, 24, words=words)
        assert len(shown) == needed + 1
        assert shown[0].lstrip().startswith("once")
    for leftwards, text in ((True, "once "), (False, " once")):
        own = Story(prompt="A", spelling=(), leftwards=leftwards, growth=Settled(text))
        styled = growing.screen(Grows((own,)), 20, 24)
        place = styled.index(growing._PEN)
        before = "".join(text for _, text, *_ in styled[:place])
        assert before == (" " * 13 if leftwards else "A once")


@pytest.mark.parametrize(
    ("leftwards", "text", "column"),
    [(True, "once ", 13), (False, " once", 6), (False, "x" * 19, 19)],
)
def test_the_terminal_s_cursor_is_there_too(leftwards: bool, text: str, column: int) -> None:
    screen = pyte.Screen(20, 24)
    own = Story(prompt="A", spelling=(), leftwards=leftwards, growth=Settled(text))
    seen = []

    def replies() -> Iterator[Reply]:
        for _ in range(6):
            yield Grows((own,))
            time.sleep(1 / growing.FRAMES_PER_SECOND)
        seen.append((screen.cursor.x, screen.cursor.y, screen.display[0].strip()))
        yield Leaves()

    with create_pipe_input() as keys:
        growing.grow(
            Grows((own,)), replies(), lambda: None, input=keys,
            output=output_to(Paper(screen), screen),
        )  # fmt: skip
    assert seen == [(column, 0, own.text)]


@given(st.integers(0, 90), st.integers(4, 60), st.integers(2, 120))
def test_two_sides_grow_towards_a_seam(words: int, rows: int, columns: int) -> None:
    opening = Story(prompt="A fox", spelling=(), leftwards=False, growth=Settled(" ran" * words))
    shown = drawn(Meets((opening, told(words)), "they meet", chosen=True), columns, rows)
    seam = next(place for place, row in enumerate(shown) if row.startswith("they meet"[:columns]))
    above, below = shown[:seam], shown[seam + 1 : -1]
    assert len(above) + len(below) <= rows - 2
    assert min(len(above), len(below)) >= 1
    if words == 0 and columns > 30:  # no more than they need
        assert (len(above), len(below)) == (1, 1)
    assert max(map(len, shown)) <= columns
    if rows > 2 * words + 4 and columns > 30:
        assert above[0].startswith("A fox")
        assert below[-1].endswith(ENDING)
        assert len(below[-1]) == min(columns, growing.READING_COLUMNS)


class Paper:
    """Where an Output writes: drawn, and kept."""

    def __init__(self, screen: pyte.Screen) -> None:
        self.stream, self.written = pyte.Stream(screen), ""

    def write(self, text: str) -> None:
        self.stream.feed(text)
        self.written += text

    def flush(self) -> None:
        pass


def output_to(paper: Paper, screen: pyte.Screen) -> Vt100_Output:
    def size() -> Size:
        return Size(screen.lines, screen.columns)

    return Vt100_Output(paper, size, enable_cpr=False)  # type: ignore[arg-type]


def test_a_resize_while_a_story_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = pyte.Screen(80, 30)
    paper = Paper(screen)
    output = output_to(paper, screen)
    monkeypatch.setattr(growing, "create_output", lambda: output)
    feet = []

    def replies() -> Iterator[Reply]:
        for columns, rows in ((80, 30), (80, 12), (50, 12), (90, 20)):
            screen.resize(rows, columns)
            for words in range(120, 126):
                yield Grows((told(words),))
                time.sleep(1 / growing.FRAMES_PER_SECOND)
            feet.append([row.rstrip() for row in screen.display if "tokens/s" in row])
        yield Leaves()

    with create_pipe_input() as keys:
        last = growing.grow(Grows((told(1),)), replies(), lambda: None, input=keys)
    assert last == Leaves()
    assert [len(rows) for rows in feet] == [1] * 4
    assert "more lines below" in feet[2][0]
    assert not "".join(screen.display).strip()
    # tmux moves into its scrollback what is erased so.
    assert "\x1b[J" not in paper.written
    before, alternate = paper.written.split("\x1b[?1049h")
    assert "tokens/s" in before
    assert alternate.count("\x1b[?1049l") == 1


def test_keys_typed_meanwhile_are_for_the_next_prompt_and_an_interrupt_stops() -> None:
    screen = pyte.Screen(80, 24)
    output = output_to(Paper(screen), screen)
    stopped: list[bool] = []
    with create_pipe_input() as keys:

        def replies() -> Iterator[Reply]:
            keys.send_text("2")
            yield Grows((told(2),))
            keys.send_text("\x03\r")
            for words in range(100):
                yield Grows((told(words),))
                if stopped:
                    break
            yield Leaves()

        growing.grow(
            Grows((told(1),)), replies(), lambda: stopped.append(True), input=keys,
            output=output,
        )  # fmt: skip
        assert [key.data for key in get_typeahead(keys)] == ["2", "\r"]
    assert stopped == [True]
