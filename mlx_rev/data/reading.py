"""The stories of a part of a corpus one by one, and the place that was come to."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

from mlx_rev.data.encoding import size_of
from mlx_rev.data.sources.part import Block, Part, Position


@dataclass(frozen=True)
class Place:
    """Between two stories of a part."""

    position: Position = ()
    """From where it can be read."""
    stories: int = 0
    """How many stories after that."""


class Reading(Iterator[str]):
    """Reads a part from the start. `tell` is told, block by block, of the share of the part that is
    read then, and of the bytes of text in the block."""

    def __init__(self, part: Part, tell: Callable[[float, int], None]) -> None:
        self._part, self._tell = part, tell
        self.go_to(Place())

    @property
    def place(self) -> Place:
        """Where this is now."""
        return Place(self._before, self._taken)

    def go_to(self, place: Place) -> None:
        """Go on from a place of this part."""
        self._blocks = self._part.at(place.position)
        self._before = place.position
        self._block = Block([], place.position, 0.0)
        self._taken = 0
        self.skip(place.stories)

    def skip(self, stories: int) -> None:
        """Read past so many stories."""
        next(islice(self, stories, stories), None)

    def __next__(self) -> str:
        while self._taken == len(self._block.stories):
            self._before, self._block, self._taken = self._block.after, next(self._blocks), 0
            self._tell(self._block.share, sum(map(size_of, self._block.stories)))
        self._taken += 1
        return self._block.stories[self._taken - 1]
