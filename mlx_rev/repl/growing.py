"""Stories while they grow, redrawn in place: prompt_toolkit writes only the cells that changed."""

import asyncio
import shutil
from collections.abc import Callable, Iterator

from prompt_toolkit.application import Application
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.input import Input
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.layout import FormattedTextControl, HSplit, Layout, Window
from prompt_toolkit.output import Output
from prompt_toolkit.styles import Style
from prompt_toolkit.widgets import Frame
from rich.cells import cell_len

from mlx_rev.repl import layout
from mlx_rev.repl.replies import Grows, Reply, Told
from mlx_rev.repl.view import READING_COLUMNS, summary

FRAMES_PER_SECOND = 30
_STYLE = Style.from_dict({"ending": "ansicyan bold", "label": "fg:default dim"})
_LEAST_LINES = 3
_CELLS_PER_TOKEN = 5
"""More than a token of English has; decides how many lines are kept free for a story."""


def grow(
    first: Grows,
    replies: Iterator[Reply],
    stop: Callable[[], None],
    context: int,
    *,
    input: Input | None = None,
    output: Output | None = None,
) -> Reply | None:
    """Show stories as they grow until another reply comes, and give that one.

    Ctrl-C calls `stop`. `context` is the model's, in tokens. What was drawn is taken away at the
    end: the whole story is printed by the view.
    """
    shown = first
    last: list[Reply | Exception | None] = []
    size = shutil.get_terminal_size()
    height = _height(context, min(size.columns, READING_COLUMNS), size.lines, len(first.stories))

    def panel(number: int) -> Window:
        def content() -> StyleAndTextTuples:
            if number >= len(shown.stories):
                return []
            columns = application.output.get_size().columns
            inner = columns if len(first.stories) == 1 else columns - 2
            return fragments(shown.stories[number], min(inner, READING_COLUMNS), height)

        return Window(FormattedTextControl(content), height=height + 1, wrap_lines=False)

    panels = [panel(number) for number in range(max(1, len(first.stories)))]
    body = panels[0] if len(panels) == 1 else HSplit([Frame(window) for window in panels])
    keys = KeyBindings()

    @keys.add("c-c")
    @keys.add("<sigint>")
    def _(event: KeyPressEvent) -> None:
        stop()

    application: Application[None] = Application(
        layout=Layout(body),
        key_bindings=keys,
        style=_STYLE,
        erase_when_done=True,
        min_redraw_interval=1 / FRAMES_PER_SECOND,
        input=input,
        output=output,
    )

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
    if isinstance(last[0], Exception):
        raise last[0]
    return last[0]


def fragments(story: Told, width: int, height: int) -> StyleAndTextTuples:
    """A frame of a story of `height` rows and a row of figures, styled."""
    frame = layout.frame(story.text, width, height, leftwards=story.leftwards)
    given = len(story.text) - len(story.ending) if story.leftwards else len(story.ending)
    styled: StyleAndTextTuples = []
    for line in frame.lines:
        if line is not None:
            text = line.text
            if story.leftwards:
                styled.append(("", " " * (width - cell_len(text))))
            cut = min(max(given - line.start, 0), len(text))
            before, after = ("", "class:ending") if story.leftwards else ("class:ending", "")
            styled += [(before, text[:cut]), (after, text[cut:])]
        styled.append(("", "\n"))
    figures = summary(story)
    if frame.hidden:
        figures += f" · {frame.hidden} more lines {'below' if story.leftwards else 'above'}"
    styled.append(("class:label", figures[:width]))
    return styled


def _height(context: int, width: int, rows: int, stories: int) -> int:
    """Lines for each story: enough for a whole one, where the screen has them."""
    wanted = -(-context * _CELLS_PER_TOKEN // max(1, width)) + 1
    frames = 2 if stories > 1 else 0
    free = (rows - 1) // stories - 1 - frames
    return max(_LEAST_LINES, min(wanted, free))
