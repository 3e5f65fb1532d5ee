"""The rows of runs that an earlier version began: packed once, the same in each epoch.

They are resumed with the batches that they began with, so what is packed here must stay as it is.

Stories that fit are packed whole, best fit first. Stories longer than a row are used as filler:
what exceeds the gaps is cut into rows of its own, the rest is cut to fill the gaps, the largest
first, until the padding that remains is small enough. If there is too little filler, a few stories
that fit are cut as well.
"""

from array import array

import numpy as np

from mlx_rev.data.packing import PackedRows

_PADDING_ALLOWED = 0.02
"""Share of all positions that may be padding before stories that fit are cut."""
_PADDING_WANTED = 0.015
"""Gaps up to this share stay empty, the smallest first, so that stories are cut less."""
_BLIND_ALLOWED = 0.05
"""Share of the fitting stories' targets whose own boundary may be in another row."""
_CUT_AT_ONCE = 0.02
"""Share of the fitting stories that becomes filler at a time."""


def pack_once(lengths: np.ndarray, context: int) -> PackedRows:
    """Pack stories of `lengths` (stories,) targets into rows of `context`."""
    lengths = lengths.astype(np.int64)
    positions = np.concatenate([[0], np.cumsum(lengths)])
    fitting = np.flatnonzero(lengths <= context)
    fitting = fitting[np.argsort(-lengths[fitting], kind="stable")]
    long = np.flatnonzero(lengths > context)
    step = max(1, int(len(fitting) * _CUT_AT_ONCE))
    cut, best = 0, None
    while True:
        # The longest ones keep most of themselves beside their boundary when they are cut.
        filler = np.concatenate([long, fitting[:cut]])
        rows = _Packing(positions, lengths, context).run(fitting[cut:], filler)
        if best is not None and _blind(rows, lengths, context) > _BLIND_ALLOWED:
            return best
        best, cut = rows, cut + step
        padding = 1 - int(rows.lengths.sum()) / (rows.count * context)
        if padding <= _PADDING_ALLOWED or cut > len(fitting):
            return best


def _blind(rows: PackedRows, lengths: np.ndarray, context: int) -> float:
    """Share of the targets of stories that fit whose own boundary is in another row."""
    fits = lengths[rows.stories] <= context
    if not fits.any():
        return 0.0
    begins = rows.offsets == 0
    return 1 - int(rows.lengths[fits & begins].sum()) / int(rows.lengths[fits].sum())


class _Packing:
    """One attempt: whole stories first, then filler."""

    def __init__(self, positions: np.ndarray, lengths: np.ndarray, context: int) -> None:
        self._positions, self._lengths, self._context = positions, lengths, context
        self._rows, self._starts, self._sizes = array("q"), array("q"), array("q")
        self._gaps: list[int] = []

    def run(self, whole: np.ndarray, filler: np.ndarray) -> PackedRows:
        """Pack `whole` stories, longest first, and then `filler` stories in pieces."""
        self._pack_whole(whole)
        self._fill(filler)
        packed = (self._rows, self._starts, self._sizes)
        rows, starts, sizes = (np.asarray(part, np.int64) for part in packed)
        stories = np.searchsorted(self._positions, starts, side="right") - 1
        offsets = starts - self._positions[stories]
        return PackedRows.of(rows, len(self._gaps), stories, offsets, sizes)

    def _add(self, row: int, start: int, size: int) -> None:
        self._rows.append(row)
        self._starts.append(start)
        self._sizes.append(size)
        self._gaps[row] -= size

    def _pack_whole(self, stories: np.ndarray) -> None:
        """Best fit, decreasing. `open_rows[g]` are the rows with a gap g, and bit g of `gaps` says
        whether there are any, so that the tightest row is found by arithmetic."""
        open_rows: list[list[int]] = [[] for _ in range(self._context + 1)]
        gaps = 0
        starts, sizes = self._positions[stories].tolist(), self._lengths[stories].tolist()
        for start, size in zip(starts, sizes, strict=True):
            wide = gaps >> size
            if wide:
                gap = size + (wide & -wide).bit_length() - 1
                row = open_rows[gap].pop()
                if not open_rows[gap]:
                    gaps ^= 1 << gap
            else:
                row = len(self._gaps)
                self._gaps.append(self._context)
            self._add(row, start, size)
            if gap := self._gaps[row]:
                open_rows[gap].append(row)
                gaps |= 1 << gap

    def _fill(self, stories: np.ndarray) -> None:
        """Cut `stories` to fill the gaps and, with what exceeds these, new rows."""
        total = int(self._lengths[stories].sum())
        gap_rows = self._gaps_to_fill(total)
        room = sum(self._gaps[row] for row in gap_rows)
        rest: list[tuple[int, int]] = []
        spare = total - room
        segments = zip(
            self._positions[stories].tolist(), self._lengths[stories].tolist(), strict=True
        )
        for start, size in segments:
            while spare >= self._context and size >= self._context:
                self._gaps.append(self._context)
                self._add(len(self._gaps) - 1, start, self._context)
                start, size = start + self._context, size - self._context
                spare -= self._context
            if size:
                rest.append((start, size))
        targets = iter(gap_rows)
        row = next(targets, None)
        for start, size in rest:
            while size:
                while row is not None and self._gaps[row] == 0:
                    row = next(targets, None)
                if row is None:
                    row = len(self._gaps)
                    self._gaps.append(self._context)
                piece = min(size, self._gaps[row])
                self._add(row, start, piece)
                start, size = start + piece, size - piece

    def _gaps_to_fill(self, filler: int) -> list[int]:
        """The rows with gaps, the largest first, without the smallest ones, which may stay."""
        rows = sorted(
            (row for row, gap in enumerate(self._gaps) if gap), key=self._gaps.__getitem__
        )
        filled = sum(self._context - gap for gap in self._gaps) + filler
        spendable = int(_PADDING_WANTED * filled)
        left = 0
        for row in rows:
            spendable -= self._gaps[row]
            if spendable < 0:
                break
            left += 1
        return rows[left:][::-1]
