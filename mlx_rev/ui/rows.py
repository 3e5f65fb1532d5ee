"""Rows of a corpus as training reads them, for a person to look at."""

from collections.abc import Iterator

import numpy as np
from rich.console import Console
from rich.text import Text

from mlx_rev.data.batches import IGNORED, Batches
from mlx_rev.data.prepare import Prepared
from mlx_rev.text.codec import StoryCodec
from mlx_rev.text.tokenizer import BOUNDARY, FORWARD_BOUNDARY
from mlx_rev.ui.visible import visible

_MARKS = {BOUNDARY: "<s>", FORWARD_BOUNDARY: "</s>"}


def show_rows(data: Prepared, context: int, count: int, seed: int, console: Console) -> None:
    """Print the first `count` rows that a training with this seed reads: of each story in them its
    tokens in model order, what they spell in reading order, and how much is padding."""
    batches = Batches([data.train], context=context, batch_size=1, seed=seed)
    for number in range(min(count, batches.row_count)):
        batch = batches.batch_at(number)
        inputs, targets, starts = (
            array[0, 0] for array in (batch.inputs, batch.targets, batch.segment_start)
        )
        padding = int((targets == IGNORED).sum())
        title = f"row {number + 1} of {batches.row_count:,}"
        title += f", the last {padding} of {context} positions padding" if padding else ""
        console.print(Text(f"\n{title}", style="bold"))
        for place, ids in enumerate(_segments(inputs, targets, starts), 1):
            console.print(Text(f"{place}. {_extent(ids, data.codec)}", style="label"))
            console.print(Text(f"   reads  {visible(_reading(ids, data.codec))}"))
            console.print(Text(f"   model  {visible(_pieces(ids, data.codec))}", style="train"))


def _segments(inputs: np.ndarray, targets: np.ndarray, starts: np.ndarray) -> Iterator[list[int]]:
    """The ids of each story or part of one in a row, the last target included."""
    for start in np.unique(starts[targets != IGNORED]):
        own = np.flatnonzero((starts == start) & (targets != IGNORED))
        yield [*inputs[own].tolist(), int(targets[own[-1]])]


def _extent(ids: list[int], codec: StoryCodec) -> str:
    """Whether a segment is a whole story."""
    first, last = ids[0] == codec.boundary, ids[-1] == codec.boundary
    part = {(True, True): "a story", (False, False): "the middle of a story"}.get(
        (first, last), "what is read first of a story" if first else "what is read last of a story"
    )
    return f"{part}, {len(ids) - 1} tokens to predict"


def _reading(ids: list[int], codec: StoryCodec) -> str:
    return codec.decode([token for token in ids if token != codec.boundary]).replace("\n", "⏎")


def _pieces(ids: list[int], codec: StoryCodec) -> str:
    pieces = codec.tokenizer.piece_bytes
    shown = [_MARKS.get(token) or pieces[token].decode(errors="replace") for token in ids]
    return "|".join(shown).replace("\n", "⏎")
