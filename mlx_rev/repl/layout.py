"""Where the characters of a growing story go on the screen: pure functions, no terminal."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len

from mlx_rev.ui.visible import visible


@dataclass(frozen=True)
class Line:
    """A row of the screen."""

    text: str
    """As it is shown, without padding."""
    start: int
    """Where its text begins in the story."""


@dataclass(frozen=True)
class Frame:
    """What is shown of a story."""

    lines: tuple[Line | None, ...]
    """From the top; None is an empty row."""
    hidden: int
    """Lines that there is no room for: below, or above if the story grows rightwards."""


def wrapped(text: str, width: int, *, leftwards: bool) -> list[Line]:
    """The lines of a story that grows leftwards from its end, or rightwards from its beginning:
    while it grows, only the newest changes."""
    return (lines_from_end if leftwards else lines_from_start)(text, width)


def frame(wrapped: Sequence[Line], height: int, *, leftwards: bool) -> Frame:
    """So many rows of a story, the newest where there are too many."""
    hidden = max(0, len(wrapped) - height)
    empty = [None] * (height - len(wrapped))
    if leftwards:
        return Frame((*empty, *wrapped[:height]), hidden)
    return Frame((*wrapped[hidden:], *empty), hidden)


def lines_from_end(text: str, width: int) -> list[Line]:
    """Fill lines with words from the end of the text, the last line first; top line first here.

    White space at a break is not shown. A word wider than a line is broken from its end.
    """
    mirrored = _filled(_clusters(text)[::-1], width)
    lines = []
    for line in mirrored:
        clusters = line[::-1]
        start = clusters[0][0] if clusters else 0
        lines.append(Line("".join(cluster for _, cluster in clusters), start))
    return lines[::-1]


def lines_from_start(text: str, width: int) -> list[Line]:
    """Fill lines with words from the beginning of the text."""
    return [
        Line("".join(cluster for _, cluster in line), line[0][0] if line else 0)
        for line in _filled(_clusters(text), width)
    ]


_Cluster = tuple[int, str]
"""The index of a character in the text, and the character with its combining marks."""


def _clusters(text: str) -> list[_Cluster]:
    clusters: list[_Cluster] = []
    for place, character in enumerate(visible(text)):
        if clusters and character != "\n" and not cell_len(character) and clusters[-1][1] != "\n":
            start, before = clusters[-1]
            clusters[-1] = (start, before + character)
        else:
            clusters.append((place, character))
    return clusters


def _filled(clusters: list[_Cluster], width: int) -> list[list[_Cluster]]:
    """Clusters as lines of at most `width` cells, in the order given."""
    width = max(2, width)  # the widest character has two cells
    lines: list[list[_Cluster]] = [[]]
    used = 0
    gap: list[_Cluster] = []
    for word in _runs(clusters):
        first = word[0][1]
        if first == "\n":
            lines += [[] for _ in word]
            used, gap = 0, []
        elif first.isspace():
            gap = word
        else:
            cells = sum(cell_len(cluster) for _, cluster in word)
            space = sum(cell_len(cluster) for _, cluster in gap)
            if lines[-1] and used + space + cells > width:
                lines.append([])
                used = 0
            elif used + space <= width:
                lines[-1] += gap
                used += space
            gap = []
            for cluster in word:
                if used + cell_len(cluster[1]) > width:
                    lines.append([])
                    used = 0
                lines[-1].append(cluster)
                used += cell_len(cluster[1])
    if used + sum(cell_len(cluster) for _, cluster in gap) <= width:
        lines[-1] += gap
    return lines


def _runs(clusters: list[_Cluster]) -> list[list[_Cluster]]:
    """Clusters in runs of newlines, of other white space, and of the rest."""
    runs: list[list[_Cluster]] = []
    last = ""
    for cluster in clusters:
        kind = "\n" if cluster[1] == "\n" else " " if cluster[1].isspace() else "w"
        if kind == last:
            runs[-1].append(cluster)
        else:
            runs.append([cluster])
        last = kind
    return runs
