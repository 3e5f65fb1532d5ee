"""How replies look, printed once into the scrollback; growing stories are in `growing`."""

from collections.abc import Sequence
from contextlib import ExitStack

from rich.cells import cell_len
from rich.columns import Columns
from rich.console import Console, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from mlx_rev.formats.convert import Progress
from mlx_rev.generate.story import Story
from mlx_rev.repl.replies import (
    Alternatives,
    Converted,
    Edits,
    Lists,
    Offers,
    Pieces,
    Reply,
    Says,
    Shades,
    Tells,
)
from mlx_rev.ui import conversion
from mlx_rev.ui.console import is_interactive
from mlx_rev.ui.visible import visible

READING_COLUMNS = 100
"""Wider lines are hard to read."""
_FINISHED = {
    "boundary": "◆",
    "length": "… unfinished:",
    "stopped": "… stopped:",
    None: "…",
}
_SURPRISE_STYLES = ((8.0, "bold red underline"), (4.0, "red"), (1.0, "none"), (0.0, "dim"))
"""The style of a word with at least so many bits; told apart on light and on dark."""
_FEWEST_BITS = 1.0
"""Without colours, the bits of words that had fewer are left out."""
_SECOND_COLUMN = 32
"""With less room for its second column, a list has one below the other."""
_PANEL_COLUMNS = 44
"""The least width of a story beside others."""


class View:
    """Shows replies on a console."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._bar = ExitStack()
        self._advance: Progress | None = None

    def show(self, reply: Reply) -> None:
        """Print a reply; a growing story is not printed."""
        self._end_progress()
        match reply:
            case Says(text):
                self._print(Text(visible(text)))
            case Tells(story):
                self._print(Text(summary(story), style="label"))
                self._print(in_colour(story))
            case Lists(rows, after):
                beside = self.console.width - max(cell_len(left) for left, _ in rows)
                self._print(_lists(rows) if beside >= _SECOND_COLUMN else _stacked(rows))
                if after:
                    self._print(Text(visible(after), style="label"))
            case Edits(text, in_editor):
                hint = (
                    "Change the story below; Enter grows it on from there, Ctrl-C leaves it as it "
                    "is."
                )
                if in_editor:
                    hint = "Change the story in your editor; it grows on from what you save."
                self._print(Text(hint, style="label"))
                if self.console.is_dumb_terminal and not in_editor:
                    # Its line would not show the text; Backspace works there all the same.
                    self._print(Text(visible(text)))
            case Offers():
                self._show_offer(reply)
            case Alternatives():
                self._print(_alternatives(reply, min(self.console.width, READING_COLUMNS)))
                self._print(Text("type a number to choose one, or go on", style="label"))
            case Shades(words):
                self._print(_shaded(words) if self._coloured else _with_figures(words))
            case Pieces(tokens):
                self._print(_pieces(tokens))
            case Converted(done):
                conversion.show(done, self.console)

    def _show_offer(self, offer: Offers) -> None:
        titles = [
            f"{title}, the best" if number == offer.best else title
            for number, title in enumerate(offer.titles)
        ]
        if is_interactive(self.console):
            self.console.print(_panels(offer.stories, titles, self.console.width))
        else:
            self._print(_titled(offer.stories, titles))
        if offer.pick:
            hint = "type a number to go on with one; all are in the /history"
            self._print(Text(hint, style="label"))

    @property
    def _coloured(self) -> bool:
        return self.console.color_system is not None and not self.console.no_color

    def error(self, message: str) -> None:
        """Print what went wrong, in a line."""
        self._end_progress()
        self._print(Text(visible(message), style="error"))

    def progress(self, weight: str, share: float) -> None:
        """Show how far a conversion is, in a bar that disappears with the next reply."""
        if self._advance is None:
            self._advance = self._bar.enter_context(conversion.bar(self.console))
        self._advance(weight, share)

    def _end_progress(self) -> None:
        self._bar.close()
        self._advance = None

    def _print(self, renderable: RenderableType) -> None:
        self.console.print(renderable, width=min(self.console.width, READING_COLUMNS))


def in_colour(story: Story) -> Text:
    """A story's text, what was given of it in a style of its own."""
    text = Text()
    for part, given in story.parts:
        text.append(visible(part), style="ending" if given else None)
    return text


def summary(story: Story) -> str:
    """A story's mark, tokens, speed, surprise and seed; of one that was not written a token at a
    time, only the mark and the seed."""
    if not story.tokens and story.finished == "boundary":
        return f"{_FINISHED[story.finished]} seed {story.seed}"
    return (
        f"{_FINISHED[story.finished]} {len(story.tokens)} tokens · "
        f"{story.tokens_per_second:.0f} tokens/s · {story.mean_surprise:.2f} bits per token · "
        f"seed {story.seed}"
    )


def _panels(stories: Sequence[Story], titles: Sequence[str], width: int) -> Columns:
    """The stories side by side, as many as there is room for."""
    beside = max(1, min(len(stories), width // _PANEL_COLUMNS))
    return Columns(
        [
            Panel(
                in_colour(story),
                title=Text(visible(title)),
                subtitle=Text(_figures(story)),
                width=min(READING_COLUMNS, (width - beside + 1) // beside),
            )
            for story, title in zip(stories, titles, strict=True)
        ],
    )


def _titled(stories: Sequence[Story], titles: Sequence[str]) -> Text:
    """The stories one after the other, without frames: for screen readers and pipes."""
    text = Text()
    for story, title in zip(stories, titles, strict=True):
        text.append(f"{visible(title)}: {_figures(story)}\n", style="label")
        text.append(in_colour(story)).append("\n\n")
    text.rstrip()
    return text


def _figures(story: Story) -> str:
    return f"{story.mean_surprise:.2f} bits per token, seed {story.seed}"


def _shaded(words: tuple[tuple[str, float | None], ...]) -> Text:
    text = Text()
    for word, bits in words:
        style = "ending"
        if bits is not None:
            style = next(style for least, style in _SURPRISE_STYLES if bits >= least)
        text.append(visible(word), style=style)
    legend = Text.assemble("\n\n", ("bits: ", "label"))
    for least, style in _SURPRISE_STYLES[::-1]:
        legend.append(f" {least:.0f}+ ", style=style)
    return text + legend


def _with_figures(words: tuple[tuple[str, float | None], ...]) -> Text:
    """The words with their bits behind them in brackets."""
    text = Text()
    for word, bits in words:
        figure = f"[{bits:.0f}]" if bits is not None and bits >= _FEWEST_BITS else ""
        if figure and word.isspace():  # so that it does not seem to be the next word's
            text.append(("⏎" if "\n" in word else "␣") + figure + visible(word))
        else:
            text.append(visible(word) + figure)
    return text.append(f"\n\nin brackets: bits, where there are {_FEWEST_BITS:.0f} or more")


def _pieces(tokens: tuple[tuple[str, int], ...]) -> Text:
    text = Text()
    for number, (piece, token) in enumerate(tokens):
        shown = visible(piece.replace("\n", "⏎").replace(" ", "␣"))
        text.append(f"⟨{shown}⟩", style="magenta" if number % 2 else None)
        text.append(f"{token} ", style="label")
    return text


def _lists(rows: tuple[tuple[str, str], ...]) -> Table:
    """Rows in two columns, the first as wide as its widest entry."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column()
    for left, right in rows:
        table.add_row(Text(visible(left), style="bold"), Text(visible(right)))
    return table


def _stacked(rows: tuple[tuple[str, str], ...]) -> Text:
    """The two columns one below the other."""
    text = Text()
    for left, right in rows:
        text.append(visible(left), style="bold").append(f"\n  {visible(right)}\n")
    text.rstrip()
    return text


def _alternatives(reply: Alternatives, width: int) -> Text:
    """The words that could stand there, each with its number and probability, and what stands
    beside it as far as there is room; the one that stands there is marked."""
    words = [visible(word.replace("\n", "⏎")) or _OTHER_END for word, _ in reply.words]
    widest = max(map(cell_len, words))
    room = min(width - widest - _BEFORE_CONTEXT, _GLANCE)
    beside = " ".join(visible(reply.beside).split())
    lines = []
    for number, (shown, (word, chance)) in enumerate(zip(words, reply.words, strict=True), 1):
        percent = f"{chance:6.1%}" if chance >= 0.001 else "< 0.1%"
        line = Text.assemble(f"{number:>2}  {percent}  ", (shown, "bold"))
        if room >= len(_STANDS):
            context = _STANDS if word == reply.chosen else _glance(beside, room, reply.leftwards)
            line.append(" " * (widest - cell_len(shown) + 2)).append(context, style="label")
        lines.append(line)
    return Text("\n", no_wrap=True, overflow="ellipsis").join(lines)


def _glance(beside: str, room: int, leftwards: bool) -> str:
    """The words next to a place, as far as there is room."""
    if len(beside) <= room:
        return beside
    return beside[: room - 1] + "…" if leftwards else "…" + beside[len(beside) - room + 1 :]


_OTHER_END = "◆ (the story's other end)"
_STANDS = "as it stands"
_BEFORE_CONTEXT = 14
"""Columns of the number, the probability and the gaps."""
_GLANCE = 40
