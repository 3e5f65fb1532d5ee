"""Curves of block characters."""

from collections.abc import Sequence
from itertools import pairwise

from rich.text import Text

_BLOCKS = " ▁▂▃▄▅▆▇█"
_LABEL = 7
"""Cells of the figures at the left of a curve."""
FRAME_ROWS = 2
"""Rows that a drawing has besides its curve: the title and the steps."""


def curve(values: Sequence[float], width: int, height: int) -> list[str]:
    """The values as `height` lines of block characters, `width` wide, highest value on top.

    Where there are more values than columns, a column shows the mean of its share.
    """
    if not values or width < 1 or height < 1:
        return [" " * max(width, 0)] * height
    means = _means(values, width)
    low, high = min(means), max(means)
    span = (high - low) or 1.0
    levels = [1 + round((mean - low) / span * (8 * height - 1)) for mean in means]
    return [
        "".join(_BLOCKS[max(0, min(8, level - 8 * row))] for level in levels).ljust(width)
        for row in reversed(range(height))
    ]


def drawing(
    title: str, points: Sequence[tuple[int, float]], width: int, height: int, style: str
) -> Text:
    """A curve through (step, value), of which there is one or more, in a box of `width` cells and
    `height` + FRAME_ROWS rows: its title above, its highest and lowest value at the left, its first
    and last step below."""
    inside = max(1, width - _LABEL)
    values = [value for _, value in points]
    means = _means(values, inside)
    lines = curve(values, inside, height)
    labels = [""] * height
    labels[-1] = _figure(min(means))
    labels[0] = _figure(max(means))
    text = Text(no_wrap=True, overflow="crop").append(f"{title[:width]}\n", "label")
    for label, line in zip(labels, lines, strict=True):
        text.append(f"{label:>{_LABEL - 1}} ", "label").append(f"{line}\n", style)
    first, last = (f"{points[end][0]:,}" for end in (0, -1))
    under = len(means)
    steps = last if len(first) + len(last) >= under else first + last.rjust(under - len(first))
    return text.append(" " * _LABEL + f"{steps:>{min(under, inside)}}"[:inside], "label")


def _means(values: Sequence[float], width: int) -> list[float]:
    """The values, or where there are more than `width` the means of that many shares of them."""
    columns = min(width, len(values))
    edges = [round(index * len(values) / columns) for index in range(columns + 1)]
    return [sum(values[start:stop]) / (stop - start) for start, stop in pairwise(edges)]


def _figure(value: float) -> str:
    return f"{value:.2f}" if abs(value) < 1000 else f"{value:.0e}"
