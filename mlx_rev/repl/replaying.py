"""A story as one file that replays how it grew, word by word: a web page or a picture.

Nothing in it is fetched from anywhere, and no text of a story is anything but text.
"""

import re
from dataclasses import asdict
from html import escape
from importlib import resources
from string import Template

from rich.cells import cell_len

from mlx_rev.generate.story import Story
from mlx_rev.repl import layout
from mlx_rev.repl.names import short_name
from mlx_rev.ui.visible import visible

WORDS_PER_SECOND = 8
COLUMNS = 80
CELL_WIDTH, LINE_HEIGHT, MARGIN = 8.4, 20.0, 16.0
HOLD = 5.0
"""Seconds for which a picture stands still before it plays again."""


def web_page(story: Story) -> str:
    """HTML in which the story plays, with buttons to pause it and to change its speed."""
    parts = [
        f'<span class="{"given" if given else "word"}">{_escaped(word)}</span>'
        for word, given in _words(story)
    ]
    return _filled(
        "story.html",
        story="".join(parts),
        leftwards=str(story.leftwards).lower(),
        rate=WORDS_PER_SECOND,
        player=_template("player.js"),
        title=_escaped(caption(story)),
        caption=_escaped(described(story)),
    )


def picture(story: Story) -> str:
    """SVG that plays by itself wherever it is shown, with controls where it is opened alone."""
    lines = layout.lines_from_end if story.leftwards else layout.lines_from_start
    rows = lines(story.text, COLUMNS)
    words = [word for row, line in enumerate(rows) for word in _placed(story, line, row)]
    written = [word for word in words if not word.given]
    total = len(written) / WORDS_PER_SECOND + HOLD
    order = written[::-1] if story.leftwards else written
    begins = {id(word): number / WORDS_PER_SECOND / total for number, word in enumerate(order)}
    drawn = [word.drawn(begins.get(id(word)), total) for word in words]
    foot = MARGIN + (len(rows) + 1.5) * LINE_HEIGHT
    drawn.append(
        f'<text class="caption" x="{MARGIN}" y="{foot:.1f}">{_escaped(caption(story))}</text>'
    )
    controls = foot + LINE_HEIGHT * 1.2
    return _filled(
        "story.svg",
        story="\n".join(drawn),
        width=f"{COLUMNS * CELL_WIDTH + 2 * MARGIN:.0f}",
        height=f"{controls + MARGIN:.0f}",
        controls=f"{controls:.0f}",
        margin=f"{MARGIN:.0f}",
        leftwards=str(story.leftwards).lower(),
        rate=WORDS_PER_SECOND,
        player=_template("player.js"),
        title=_escaped(caption(story)),
    )


def caption(story: Story) -> str:
    """Who wrote a story, with which seed."""
    return f"{short_name(story.model)}, seed {story.seed}"


def described(story: Story) -> str:
    """Who wrote a story, and all settings."""
    settings = asdict(story.settings) if story.settings else {}
    shown = [f"{name} {value}" for name, value in settings.items() if name != "seed"]
    return ", ".join([f"Model: {caption(story)}", *shown])


class _Word:
    """A word at its place in the picture."""

    def __init__(self, text: str, column: int, row: int, *, given: bool) -> None:
        self.text, self.column, self.row, self.given = text, column, row, given

    def drawn(self, begin: float | None, total: float) -> str:
        x, y = MARGIN + self.column * CELL_WIDTH, MARGIN + (self.row + 0.75) * LINE_HEIGHT
        # What is animated is visible: whoever cannot play it shows the whole story.
        moves = ""
        if begin:
            moves = (
                '<animate attributeName="visibility" calcMode="discrete" values="hidden;visible" '
                f'keyTimes="0;{begin:.5f}" dur="{total:.2f}s" repeatCount="indefinite"/>'
            )
        return (
            f'<text class="{"given" if self.given else "word"}" x="{x:.1f}" y="{y:.1f}" '
            f'textLength="{cell_len(self.text) * CELL_WIDTH:.1f}">{_escaped(self.text)}'
            f"{moves}</text>"
        )


def _placed(story: Story, line: layout.Line, row: int) -> list[_Word]:
    """The words of a line, and which of them the person gave."""
    indent = COLUMNS - cell_len(line.text) if story.leftwards else 0
    words, end = [], -line.start
    for part, given in story.parts:
        start, end = max(end, 0), end + len(part)
        for found in re.finditer(r"\S+", line.text[start : max(end, 0)]):
            column = indent + cell_len(line.text[: start + found.start()])
            words.append(_Word(found[0], column, row, given=given))
    return words


def _words(story: Story) -> list[tuple[str, bool]]:
    """The text in reading order, a word at a time with the gap before or behind it, and whether it
    was given."""
    pattern = r"\S+\s*|\s+" if story.leftwards else r"\s*\S+|\s+"
    words = []
    for part, given in story.parts:
        found = [part] if given and part else re.findall(pattern, part)
        words += [(word, given) for word in found]
    return words


def _escaped(text: str) -> str:
    # XML has no place for U+FFFE and U+FFFF either.
    return escape(re.sub("[\ufffe\uffff]", "\ufffd", visible(text)))


def _template(name: str) -> str:
    return (resources.files("mlx_rev.repl") / "replay" / name).read_text(encoding="utf-8")


def _filled(name: str, **values: object) -> str:
    return Template(_template(name)).substitute(values)
