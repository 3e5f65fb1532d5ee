"""The stories of a part of a corpus one by one, and the place that was come to."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

from mlx_rev.data.encoding import size_of
from mlx_rev.data.sources.part import Part, PartBlock, Position


@dataclass(frozen=True)
class Place:
    """Where a story of a part is."""

    position: Position = ()
    """From where the part can be read."""
    stories: int = 0
    """How many stories there are between that and this one."""


class Reading(Iterator[str]):
    """Reads a part from the start. `tell` is told, block by block, of the share of the part that is
    read then, and of the bytes of text in the block."""

    def __init__(self, part: Part, tell: Callable[[float, int], None]) -> None:
        self._part, self._tell = part, tell
        self.go_to(Place())

    @property
    def last(self) -> Place:
        """Where the last story is that this gave."""
        return Place(self._before, self._taken - 1) if self._taken else self._last

    def go_to(self, place: Place) -> None:
        """Go on with the story that is there."""
        self._blocks, self._last = self._part.at(place.position), place
        self._before = place.position
        self._block = PartBlock([], place.position, 0.0)
        self._taken = 0
        self.skip(place.stories)

    def skip(self, stories: int) -> None:
        """Read past so many stories."""
        next(islice(self, stories, stories), None)

    def __next__(self) -> str:
        while self._taken == len(self._block.stories):
            self._last = self.last
            self._before, self._block, self._taken = self._block.after, next(self._blocks), 0
            self._tell(self._block.share, sum(map(size_of, self._block.stories)))
        self._taken += 1
        return self._block.stories[self._taken - 1]
