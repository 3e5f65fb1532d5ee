"""Blocks of stories to tokens."""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass

from mlx_rev.text.chunk_cache import ChunkCache, Known, id_type
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


@dataclass(frozen=True)
class Encoded:
    """The tokens of a block's stories in one direction."""

    tokens: bytes
    """Ids in model order, a boundary after each story, as bytes of the vocabulary's `id_type`."""
    lengths: list[int]
    """Tokens of each story, its boundary included."""


class Encoder:
    """Encodes stories in each direction of a codec; begins with what another one came to know."""

    def __init__(self, codec: StoryCodec, known: Sequence[Known] = ()) -> None:
        self._directions = [
            (ChunkCache(each, known[number] if known else ({}, {})), each.boundary)
            for number, each in enumerate(codec.directions)
        ]
        self._type = id_type(codec.tokenizer.vocab_size)

    @property
    def known(self) -> list[Known]:
        """What this knows of each direction."""
        return [cache.known for cache, _ in self._directions]

    def __call__(self, stories: Sequence[str]) -> list[Encoded]:
        """The tokens in each direction. Raises DataError for what cannot be encoded."""
        return [
            self._encoded(cache.encode(stories), boundary) for cache, boundary in self._directions
        ]

    def _encoded(self, ids: list[bytes], boundary: int) -> Encoded:
        end = array(self._type, [boundary]).tobytes()
        return Encoded(end.join([*ids, b""]), [len(each) // len(end) + 1 for each in ids])
