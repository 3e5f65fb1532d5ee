"""How replies look, printed once into the scrollback; growing stories are in `growing`."""

from contextlib import ExitStack

from rich.columns import Columns
from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from mlx_rev.formats.convert import Progress
from mlx_rev.generate.story import Story
from mlx_rev.repl.replies import (
    Converted,
    Offers,
    Pieces,
    Reply,
    Says,
    Shades,
    Tells,
)
from mlx_rev.ui import conversion
from mlx_rev.ui.console import is_interactive, story_text
from mlx_rev.ui.visible import visible

READING_COLUMNS = 100
"""Wider lines are hard to read."""
_FINISHED = {
    "boundary": "◆",
    "length": "… its other end did not fit:",
    "stopped": "… stopped:",
    None: "…",
}
_SURPRISE_STYLES = ((8.0, "bold red"), (4.0, "yellow"), (1.0, "none"), (0.0, "dim"))
"""The style of a word with at least so many bits."""


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
                self._print(story_text(visible(story.text), visible(story.prompt)))
            case Offers(stories, titles, pick):
                if is_interactive(self.console):
                    self._print(_panels(stories, titles))
                else:
                    self._print(_titled(stories, titles))
                if pick:
                    self._print(Text("type a number to keep one, or go on", style="label"))
            case Shades(words):
                self._print(_shaded(words))
            case Pieces(tokens):
                self._print(_pieces(tokens))
            case Converted(done):
                conversion.show(done, self.console)

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

    def _print(self, renderable: object) -> None:
        self.console.print(renderable, width=min(self.console.width, READING_COLUMNS))


def summary(story: Story) -> str:
    """A story's mark, tokens, speed, surprise and seed."""
    return (
        f"{_FINISHED[story.finished]} {len(story.tokens)} tokens · "
        f"{story.tokens_per_second:.0f} tokens/s · {story.mean_surprise:.2f} bits per token · "
        f"seed {story.seed}"
    )


def _panels(stories: tuple[Story, ...], titles: tuple[str, ...]) -> Columns:
    return Columns(
        [
            Panel(
                story_text(visible(story.text), visible(story.prompt)),
                title=Text(title),
                subtitle=Text(_figures(story)),
            )
            for story, title in zip(stories, titles, strict=True)
        ],
        equal=True,
    )


def _titled(stories: tuple[Story, ...], titles: tuple[str, ...]) -> Text:
    """The stories one after the other, without frames: for screen readers and pipes."""
    text = Text()
    for story, title in zip(stories, titles, strict=True):
        text.append(f"{visible(title)}: {_figures(story)}\n", style="label")
        text.append(story_text(visible(story.text), visible(story.prompt))).append("\n\n")
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
    legend = Text("\n\nbits: ", style="label")
    for least, style in _SURPRISE_STYLES[::-1]:
        legend.append(f" {least:.0f}+ ", style=style)
    return text + legend


def _pieces(tokens: tuple[tuple[str, int], ...]) -> Text:
    text = Text()
    for number, (piece, token) in enumerate(tokens):
        text.append(visible(piece.replace("\n", "⏎")), style="cyan" if number % 2 else "magenta")
        text.append(f"{token} ", style="label")
    return text
