"""Blocks of stories to tokens."""

from collections.abc import Sequence
from dataclasses import dataclass

from mlx_rev.text.chunk_cache import ChunkCache, Encoded
from mlx_rev.text.chunk_memory import ChunkMemory
from mlx_rev.text.codec import StoryCodec


def size_of(story: str) -> int:
    """UTF-8 bytes of a text, whatever is in it."""
    return len(story) if story.isascii() else len(story.encode(errors="surrogatepass"))


@dataclass(frozen=True)
class Block:
    """Some stories of a corpus, a megabyte or so."""

    stories: list[str]
    text_bytes: list[int]
    """UTF-8 bytes of each."""


class Encoder:
    """Encodes stories in each direction of a codec; begins with what another one came to know."""

    def __init__(self, codec: StoryCodec, known: Sequence[ChunkMemory | None] = ()) -> None:
        begun = known or [None] * len(codec.directions)
        self._caches = list(map(ChunkCache, codec.directions, begun))

    @property
    def known(self) -> list[ChunkMemory]:
        """What this knows of each direction."""
        return [cache.known for cache in self._caches]

    def __call__(self, stories: Sequence[str]) -> list[Encoded]:
        """The tokens in each direction. Raises DataError for what cannot be encoded."""
        return [cache.encode(stories) for cache in self._caches]
