"""Stories while they grow, redrawn in place: prompt_toolkit writes only the cells that changed."""

import asyncio
from collections.abc import Callable, Iterator

from prompt_toolkit.application import Application
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.input import Input
from prompt_toolkit.input.typeahead import get_typeahead, store_typeahead
from prompt_toolkit.key_binding import KeyBindings, KeyPress, KeyPressEvent
from prompt_toolkit.keys import Keys
from prompt_toolkit.layout import FormattedTextControl, Layout, Window
from prompt_toolkit.output import Output
from prompt_toolkit.output.defaults import create_output
from prompt_toolkit.output.vt100 import Vt100_Output
from prompt_toolkit.styles import Style
from rich.cells import cell_len

from mlx_rev.generate.story import Story
from mlx_rev.repl import layout
from mlx_rev.repl.replies import Grows, Meets, Reply
from mlx_rev.repl.view import READING_COLUMNS, summary

FRAMES_PER_SECOND = 30
_STYLE = Style.from_dict({"ending": "ansimagenta bold", "label": "fg:default dim"})
_LEAST_LINES = 2
"""Of each story, if there are several; those that leaves no room for are only counted."""
_PEN = ("[SetCursorPosition]", "")
"""Where the cursor stands: at the newest word."""


def grow(
    first: Grows,
    replies: Iterator[Reply],
    stop: Callable[[], None],
    *,
    input: Input | None = None,
    output: Output | None = None,
) -> Reply | None:
    """Show stories as they grow until another reply comes, and return that one.

    They take as many rows as they need, the newest line at the top of those that grow leftwards.
    Ctrl-C calls `stop`, Ctrl-Z suspends; other keys are kept for the next prompt. What was drawn is
    erased at the end: the view prints the complete story.
    """
    shown = first
    last: list[Reply | Exception | None] = []
    typed: list[KeyPress] = []

    def content() -> StyleAndTextTuples:
        size = application.output.get_size()
        return screen(shown, size.columns, size.rows)

    control = FormattedTextControl(content, show_cursor=len(first.stories) == 1)
    application: Application[None] = Application(
        layout=Layout(Window(control, wrap_lines=False)),
        key_bindings=_keys(stop, typed),
        style=_STYLE,
        erase_when_done=True,
        min_redraw_interval=1 / FRAMES_PER_SECOND,
        input=input,
        output=output or _output(),
    )
    application.before_render += _leaver_of_scrollback(application)

    async def follow() -> None:
        nonlocal shown
        try:
            for reply in replies:
                if not isinstance(reply, Grows):
                    last.append(reply)
                    break
                shown = reply
                application.invalidate()
                # Lets keys be read and frames be drawn between two tokens.
                await asyncio.sleep(0)
            else:
                last.append(None)
        except Exception as error:
            last.append(error)
        application.exit()

    def start() -> None:
        application.create_background_task(follow())

    application.run(pre_run=start)
    store_typeahead(application.input, typed + get_typeahead(application.input))
    if isinstance(last[0], Exception):
        raise last[0]
    return last[0]


def _output() -> Output:
    """The terminal, whose rows are erased one by one.

    If all below the top of the screen is erased at once, as after a resize, tmux and others move it
    into their scrollback.
    """
    output = create_output()

    def erase_down() -> None:
        rows = output.get_size().rows
        output.write_raw("\x1b7\x1b[K" + "\x1b[B\x1b[K" * (rows - 1) + "\x1b8")

    if isinstance(output, Vt100_Output):
        output.erase_down = erase_down  # type: ignore[method-assign]
    return output


def _leaver_of_scrollback(application: Application[None]) -> Callable[[object], None]:
    """Called before each frame: from the first resize on, frames are on the alternate screen.

    Terminals rewrap lines when they become narrower, and what then no longer fits goes into the
    scrollback at each step of dragging a window's edge; the alternate screen has none.
    """
    seen = application.output.get_size()

    def look(_: object) -> None:
        nonlocal seen
        renderer, size = application.renderer, application.output.get_size()
        if size != seen and not renderer.full_screen:
            renderer.erase()
            renderer.full_screen = True
        seen = size

    return look


def _keys(stop: Callable[[], None], typed: list[KeyPress]) -> KeyBindings:
    keys = KeyBindings()

    @keys.add("c-c")
    @keys.add("<sigint>")
    def _(event: KeyPressEvent) -> None:
        stop()

    @keys.add("c-z")
    def _(event: KeyPressEvent) -> None:
        event.app.suspend_to_background()

    @keys.add(Keys.Any)
    def _(event: KeyPressEvent) -> None:
        typed.extend(event.key_sequence)

    return keys


def screen(shown: Grows, columns: int, rows: int) -> StyleAndTextTuples:
    """A frame of stories, one above the other, in the rows that they need or, of a screen of
    `rows`, in those that there are."""
    width = min(columns, READING_COLUMNS)
    if isinstance(shown, Meets):
        return _facing(shown, width, rows)
    count, most = _room(len(shown.stories), rows)
    stories, several = shown.stories[:count], len(shown.stories) > 1
    wrapped = [_wrapped(story, width) for story in stories]
    height = min(most, max(map(len, wrapped)))
    styled: StyleAndTextTuples = []
    for number, (story, lines) in enumerate(zip(stories, wrapped, strict=True), 1):
        if number > 1:
            styled.append(("", "\n"))
        styled += _described(story, lines, width, height, number if several else None)
    if count < len(shown.stories):
        left_out = f"and {len(shown.stories) - count} more"
        styled.append(("class:label", "\n" + left_out[:width]))
    return styled


def _facing(shown: Meets, width: int, rows: int) -> StyleAndTextTuples:
    """Two stories with the seam between them; where there is no room for all, the one that needs
    more than half of it gets what the other leaves."""
    sides = [(story, _wrapped(story, width)) for story in shown.stories]
    room = max(2, rows - 2)
    opening, ending = (
        _lines(story, lines, width, min(len(lines), max(room // 2, room - len(others))))[0]
        for (story, lines), (_, others) in zip(sides, sides[::-1], strict=True)
    )
    seam = f"{shown.seam} ".ljust(width, "─")[:width] + "\n"
    return [*opening, ("class:label", seam), *ending]


def _wrapped(story: Story, width: int) -> list[layout.Line]:
    return layout.wrapped(story.text, width, leftwards=story.leftwards)


def _described(
    story: Story, wrapped: list[layout.Line], width: int, height: int, number: int | None
) -> StyleAndTextTuples:
    """A story in `height` rows, then a row with its figures and, among several, its number."""
    styled, hidden = _lines(story, wrapped, width, height)
    figures = summary(story)
    if hidden:
        # In front, where a narrow screen shows it.
        lines = "line" if hidden == 1 else "lines"
        side = "below" if story.leftwards else "above"
        figures = f"{hidden} more {lines} {side} · {figures}"
    if number is not None:
        figures = f"{number}: {figures}"
    while cell_len(figures) > width and " · " in figures:
        figures = figures.rpartition(" · ")[0]
    if number is not None:
        figures = f"{figures} ".ljust(width, "─")
    styled.append(("class:label", figures[:width]))
    return styled


def _lines(
    story: Story, wrapped: list[layout.Line], width: int, height: int
) -> tuple[StyleAndTextTuples, int]:
    """A story in `height` rows, and how many lines there is no room for."""
    frame = layout.frame(wrapped, height, leftwards=story.leftwards)
    given = len(story.text) - len(story.prompt) if story.leftwards else len(story.prompt)
    styled: StyleAndTextTuples = []
    for line in frame.lines:
        if line is not None:
            text = line.text
            cut = min(max(given - line.start, 0), len(text))
            newest = line is wrapped[0 if story.leftwards else -1]
            if story.leftwards:
                gap = " " * (width - cell_len(text))
                # The cursor is left of the newest word, on its first letter where there is no room.
                styled += [("", gap[:-1]), *([_PEN] if newest else []), ("", gap[-1:])]
                styled += [("", text[:cut]), ("class:ending", text[cut:])]
            else:
                # It takes the cell behind the newest word or, in a full line, the last one.
                end = len(text) - (newest and cell_len(text) >= width)
                styled += [("class:ending", text[: min(cut, end)]), ("", text[cut:end])]
                if newest:
                    last = ("class:ending" if cut > end else "", text[end:] or " ")
                    styled += [_PEN, last]
        styled.append(("", "\n"))
    return styled, frame.hidden


def _room(stories: int, rows: int) -> tuple[int, int]:
    """How many stories a screen shows, and in how many lines each at most."""
    free = rows - 1
    shown = stories
    if stories > 1 and stories * (_LEAST_LINES + 1) > free:
        free -= 1
        shown = min(stories, max(1, free // (_LEAST_LINES + 1)))
    return shown, max(1, free // shown - 1)
