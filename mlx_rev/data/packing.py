"""Rows of a fixed number of targets, packed from whole stories, with hardly any padding.

A segment of a story, (offset, length), gives the inputs tokens[offset : offset + length] and, one
further on, as many targets; a whole story is the segment from its boundary up to the next one. So
segments that cover the stories once make every token after a boundary a target once.

How many rows there are is known from the number of targets alone, before anything is packed.
Stories that fit are packed whole, best fit first (Johnson 1973: the longest first, each into the
row that it fills most). Stories longer than a row, the longest first, get the rows that are left,
a whole row each in turn; what remains of them fills the gaps, the widest first, so that they come
apart in few pieces. Stories that fit are cut only where whole ones and the pieces of long ones
leave more padding than is allowed.
"""

from array import array
from dataclasses import astuple, dataclass
from operator import add
from typing import TypeVar

import numpy as np

Targets = TypeVar("Targets", int, np.ndarray)

_PADDING = 15, 1000
"""Padding beside the targets: 15 for 1000 of them."""


@dataclass(frozen=True, eq=False)
class PackedRows:
    """Segments by row: row r has those from first[r] up to first[r + 1]."""

    first: np.ndarray
    """(rows + 1,) int64."""
    stories: np.ndarray
    """(segments,) int64: of which story."""
    offsets: np.ndarray
    """(segments,) int64: where in the story."""
    lengths: np.ndarray
    """(segments,) int64: targets."""

    @property
    def count(self) -> int:
        """How many rows there are."""
        return len(self.first) - 1

    def of_row(self, row: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The stories, offsets and lengths of the segments of a row."""
        own = slice(self.first[row], self.first[row + 1])
        return self.stories[own], self.offsets[own], self.lengths[own]

    @staticmethod
    def of(
        rows: np.ndarray, count: int, stories: np.ndarray, offsets: np.ndarray, lengths: np.ndarray
    ) -> "PackedRows":
        """From segments in any order, each with its row; in a row they stay in theirs."""
        order = np.argsort(rows, kind="stable")
        first = np.searchsorted(rows[order], np.arange(count + 1))
        return PackedRows(first, stories[order], offsets[order], lengths[order])


@dataclass(frozen=True)
class PackingReport:
    """How well stories are packed, as counts; reports of different stories add up."""

    rows: int
    positions: int
    """Of all rows, padding included."""
    targets: int
    sighted: int
    """Targets whose own story's boundary is in their row."""
    stories: int
    cut: int
    """Stories that are in several rows."""
    fitting_cut: int
    """Those of them that would have fitted into one."""
    pieces: int
    """Of the stories that are cut."""

    def __add__(self, other: "PackingReport") -> "PackingReport":
        return PackingReport(*map(add, astuple(self), astuple(other)))

    @property
    def padding(self) -> float:
        """Share of the positions that are padding."""
        return 1 - self.targets / self.positions

    @property
    def sighted_share(self) -> float:
        """Share of the targets whose own story's boundary is in their row."""
        return self.sighted / self.targets

    @property
    def pieces_per_cut_story(self) -> float:
        """In how many rows a story is that is in several; 0 where none is."""
        return self.pieces / self.cut if self.cut else 0.0


def rows_for(targets: Targets, context: int) -> Targets:
    """How many rows of `context` these many targets get, with the padding that is allowed, rounded
    down; for an integer or an array of them."""
    extra, per = _PADDING
    return targets * (per + extra) // (per * context)


def pack(lengths: np.ndarray, context: int, rows: int) -> PackedRows:
    """Pack stories of `lengths` (stories,) targets into exactly `rows` rows of `context`.

    The rows must have room for them all; none stays empty if there are as many targets.
    """
    return _Packing(lengths, context, rows).run()


class _Packing:
    """`open_rows[g]` are the rows with a gap g, and bit g of `gaps` says whether there are any, so
    that the tightest and the widest are found by arithmetic."""

    def __init__(self, lengths: np.ndarray, context: int, rows: int) -> None:
        self._lengths, self._context = lengths, context
        self._open_rows: list[list[int]] = [[] for _ in range(context + 1)]
        self._gaps = 0
        self._unused = list(range(rows))[::-1]
        self._count = rows
        self._rows, self._stories = array("q"), array("q")
        self._offsets, self._sizes = array("q"), array("q")

    def run(self) -> PackedRows:
        """Whole stories first, then pieces."""
        decreasing = np.argsort(-self._lengths, kind="stable")
        long = int((self._lengths > self._context).sum())
        left = self._pack_whole(decreasing[long:].tolist())
        self._pack_pieces(decreasing[:long].tolist() + left)
        self._fill_unused()
        packed = (self._rows, self._stories, self._offsets, self._sizes)
        rows, stories, offsets, sizes = (np.asarray(part, np.int64) for part in packed)
        return PackedRows.of(rows, self._count, stories, offsets, sizes)

    def _pack_whole(self, stories: list[int]) -> list[int]:
        """Best fit, decreasing; the stories that no row has room for."""
        sizes, left = self._lengths[stories].tolist(), []
        for story, size in zip(stories, sizes, strict=True):
            if self._gaps >> size:
                self._put(*self._tightest(size), story, 0, size)
            elif self._unused:
                self._put(self._unused.pop(), self._context, story, 0, size)
            else:
                left.append(story)
        return left

    def _pack_pieces(self, stories: list[int]) -> None:
        offsets = dict.fromkeys(stories, 0)
        sizes = dict(zip(stories, self._lengths[stories].tolist(), strict=True))
        wide = [story for story in stories if sizes[story] >= self._context]
        while self._unused and wide:
            for story in wide[: len(self._unused)]:
                self._put(self._unused.pop(), self._context, story, offsets[story], self._context)
                offsets[story] += self._context
                sizes[story] -= self._context
            wide = [story for story in wide if sizes[story] >= self._context]
        for story in stories:
            offset, size = offsets[story], sizes[story]
            while size:
                if self._gaps >> size:
                    row, gap = self._tightest(size)
                elif self._unused:
                    row, gap = self._unused.pop(), self._context
                else:
                    row, gap = self._taken(self._gaps.bit_length() - 1)
                piece = min(size, gap)
                self._put(row, gap, story, offset, piece)
                offset, size = offset + piece, size - piece

    def _tightest(self, size: int) -> tuple[int, int]:
        """A row with the smallest gap that holds `size`, and the gap; there must be one."""
        wide = self._gaps >> size
        return self._taken(size + (wide & -wide).bit_length() - 1)

    def _taken(self, gap: int) -> tuple[int, int]:
        row = self._open_rows[gap].pop()
        if not self._open_rows[gap]:
            self._gaps ^= 1 << gap
        return row, gap

    def _put(self, row: int, gap: int, story: int, offset: int, size: int) -> None:
        self._rows.append(row)
        self._stories.append(story)
        self._offsets.append(offset)
        self._sizes.append(size)
        if gap := gap - size:
            self._open_rows[gap].append(row)
            self._gaps |= 1 << gap

    def _fill_unused(self) -> None:
        """Give every row that is still empty a segment of another row: one of several, or where
        all are alone, half of the longest. A batch of nothing but padding would have no loss."""
        if not self._unused:
            return
        held = np.bincount(np.asarray(self._rows), minlength=self._count)
        place = len(self._rows) - 1
        while self._unused and place >= 0:
            if held[self._rows[place]] > 1:
                held[self._rows[place]] -= 1
                self._rows[place] = self._unused.pop()
            place -= 1
        while self._unused and (size := max(self._sizes)) > 1:
            place, kept = self._sizes.index(size), size - size // 2
            self._sizes[place] = kept
            moved = (self._stories[place], self._offsets[place] + kept, size // 2)
            self._put(self._unused.pop(), self._context, *moved)


def packing_report(rows: PackedRows, lengths: np.ndarray, context: int) -> PackingReport:
    """Measure rows of all the stories of `lengths` (stories,) targets."""
    pieces = np.bincount(rows.stories, minlength=len(lengths))
    cut = pieces > 1
    return PackingReport(
        rows=rows.count,
        positions=rows.count * context,
        targets=int(rows.lengths.sum()),
        sighted=int(rows.lengths[rows.offsets == 0].sum()),
        stories=len(lengths),
        cut=int(cut.sum()),
        fitting_cut=int((cut & (lengths <= context)).sum()),
        pieces=int(pieces[cut].sum()),
    )
