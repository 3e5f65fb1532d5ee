"""Stories to ids by looking up whole chunks: many times as fast as the tokenizer, the same ids.

Most of what stands between two spaces was met before. So the text of many stories is cut at once,
and the ids of all its parts are looked up and put together at once, by NumPy. Only what is new is
reversed and encoded, and only what has a bad joint is looked at by itself.
"""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from mlx_rev.errors import DataError
from mlx_rev.text.chunk_encoder import ChunkEncoder
from mlx_rev.text.chunk_memory import BOUNDARY, ChunkMemory
from mlx_rev.text.chunk_table import PADDING, keys_of
from mlx_rev.text.chunking import BEGINS, ENDS, JOINT, STORY_END, UNCUT, WHOLE, Chunking
from mlx_rev.text.codec import StoryCodec

MOST = 100_000
"""Chunks after which all are forgotten; or ids, 16 times as many."""

_LOOKED_AT = 20_000
"""New parts that are looked at one by one, before the rest of a block is looked up again."""


def id_type(vocab_size: int) -> Literal["H", "I"]:
    """The type of ids, by its letter in `array`: 2 bytes each where that is enough, else 4."""
    return "H" if vocab_size <= 1 << 16 else "I"


@dataclass(frozen=True)
class Encoded:
    """The tokens of some stories in one direction."""

    tokens: bytes
    """Ids in model order, a boundary after each story, as bytes of the vocabulary's `id_type`."""
    lengths: np.ndarray
    """(stories,) int64: tokens of each story, its boundary included."""


class ChunkCache:
    """`StoryCodec.encode_batch` for a corpus. What it remembers takes up to 20 MB.

    It begins with what another one for the same codec came to know, and has that to itself then.
    """

    def __init__(
        self, codec: StoryCodec, known: ChunkMemory | None = None, most: int = MOST
    ) -> None:
        self._codec, self._most = codec, most
        self._encoder = ChunkEncoder(codec)
        self.known = known or self._nothing()
        """What this knows."""

    def encode(self, stories: Sequence[str]) -> Encoded:
        """The tokens of stories. Raises DataError for what cannot be encoded."""
        codec = self._codec
        if not stories or not codec.tokenizer.cuts:
            return self._one_by_one(stories)
        if len(self.known.starts) > self._most or len(self.known.ids) > 16 * self._most:
            self.known = self._nothing()
        try:
            # Where order is reversed, that of the stories is once more.
            in_turn = stories[::-1] if codec.order.grows_leftwards else stories
            return self._encoded(_Parts(in_turn, self._encoder.chunking))
        except (DataError, UnicodeEncodeError):
            # Name the place in the story, rather than in a chunk.
            for story in stories:
                codec.tokenizer.check(story)
            raise

    def _nothing(self) -> ChunkMemory:
        return ChunkMemory(self._codec.boundary, id_type(self._codec.tokenizer.vocab_size))

    def _one_by_one(self, stories: Sequence[str]) -> Encoded:
        """The same by the tokenizer alone."""
        encoded = self._codec.encode_batch(stories)
        tokens = array(id_type(self._codec.tokenizer.vocab_size))
        for ids in encoded:
            tokens.extend([*ids, self._codec.boundary])
        return Encoded(tokens.tobytes(), np.array([len(ids) + 1 for ids in encoded], np.int64))

    def _encoded(self, parts: "_Parts") -> Encoded:
        """The tokens of texts that were cut."""
        numbers = self._numbers(parts)
        heads, tails = parts.chunks(self.known.ends[numbers])
        chunks = self._chunks(parts, numbers, heads, tails)
        return self._put_together(chunks, parts.closes[tails])

    def _numbers(self, parts: "_Parts") -> np.ndarray:
        """(parts,): the number of each; new ones have one from now on."""
        known, found = self.known, self.known.find(parts.keys)
        others = np.flatnonzero(found < 0)
        while len(others):
            # Some at a time: what comes often is known then.
            some, others = others[:_LOOKED_AT], others[_LOOKED_AT:]
            texts = parts.texts(some, some)
            places = dict(zip(texts, some.tolist(), strict=True))
            numbers = self._learn([text for text in places if text not in known.long])
            at = np.array([places[text] for text in numbers], np.int64)
            known.remember([*numbers], parts.keys.some(at), [*numbers.values()])
            found[some] = [numbers.get(text) or known.long[text] for text in texts]
            found[others] = known.find(parts.keys.some(others))
            others = others[found[others] < 0]
        return found

    def _learn(self, new: Sequence[bytes]) -> dict[bytes, int]:
        """Numbers for parts of texts: ids with those that are chunks wherever they stand."""
        ends = {text: self._encoder.chunking.ends_of(text.decode()) for text in new}
        rest = [text for text in new if ends[text] != WHOLE]
        first = self.known.add([], [0] * len(rest), [ends[text] for text in rest])
        numbers = dict(zip(rest, range(first, first + len(rest)), strict=True))
        whole = [text.decode() for text in new if ends[text] == WHOLE]
        for chunks, ids, lengths in self._encoder.together(whole):
            first = self.known.add(ids, lengths, WHOLE)
            numbers.update((chunk.encode(), first + each) for each, chunk in enumerate(chunks))
        return numbers

    def _chunks(
        self, parts: "_Parts", numbers: np.ndarray, heads: np.ndarray, tails: np.ndarray
    ) -> np.ndarray:
        """(chunks,): the number of each chunk, of which the first and the last part are given."""
        known, encoder = self.known, self._encoder
        found: np.ndarray = numbers[heads]
        is_first = parts.closes[tails]
        if encoder.chunking.first == 0:
            is_first = np.roll(is_first, 1)
        is_odd = (heads != tails) | (known.ends[found] != WHOLE)
        if self._codec.tokenizer.adds_space:
            # A whole chunk has the same ids there. (A newline at an end is between two parts.)
            is_first &= is_odd
        special = np.flatnonzero(is_first | is_odd)
        asked = is_first[special].tolist()
        next_number = len(known.starts)
        memories = known.glued, known.first
        new: tuple[dict[bytes, int], dict[bytes, int]] = {}, {}
        ids: list[int] = []
        lengths: list[int] = []
        answers: list[int] = []
        for text, first in zip(parts.texts(heads[special], tails[special]), asked, strict=True):
            number = memories[first].get(text) or new[first].get(text)
            if number is None:
                chunk = text.replace(JOINT, b"").decode()
                its = encoder.first(chunk) if first else encoder.later(chunk)
                number = new[first][text] = next_number + len(lengths)
                ids += its
                lengths.append(len(its))
            answers.append(number)
        known.add(ids, lengths)
        # Not before they have these numbers: a later one may not be encodable.
        for memory, more in zip(memories, new, strict=True):
            memory.update(more)
        found[special] = answers
        return found

    def _put_together(self, chunks: np.ndarray, closes: np.ndarray) -> Encoded:
        """The ids of chunks; `closes` says of each whether it is the last of its story."""
        known, after = self.known, np.flatnonzero(closes) + 1
        if self._codec.order.grows_leftwards:
            # What comes before a story is after it in reverse.
            chunks = np.insert(chunks, np.roll(after, 1) % len(chunks), BOUNDARY)[::-1]
        else:
            chunks = np.insert(chunks, after, BOUNDARY)
        lengths = known.lengths[chunks]
        ends = np.cumsum(lengths)
        places = np.repeat(known.starts[chunks] - ends + lengths, lengths)
        places += np.arange(len(places))
        stories = np.diff(ends[chunks == BOUNDARY], prepend=0)
        return Encoded(known.ids[places].tobytes(), stories)


class _Parts:
    """Texts one after another, cut at every space and newline."""

    def __init__(self, texts: Sequence[str], chunking: Chunking) -> None:
        self._text = chunking.marked(texts)
        padded = self._text + bytes(PADDING)
        values = np.frombuffer(padded, np.uint8)
        # (parts,) int64 each: the bytes at which a part begins, and before which it ends.
        self._ends = np.flatnonzero((values == ord(" ")) | (values >= ord(JOINT)))
        self._starts = np.concatenate([[0], self._ends[:-1] + 1])
        self.keys = keys_of(padded, self._starts, self._ends - self._starts)
        self.closes = values[self._ends] == ord(STORY_END)
        """(parts,): whether each is the last of its story."""

    def texts(self, heads: np.ndarray, tails: np.ndarray) -> list[bytes]:
        """What there is from the beginning of some parts to the end of others."""
        starts, ends = self._starts[heads].tolist(), self._ends[tails].tolist()
        return [self._text[start:end] for start, end in zip(starts, ends, strict=True)]

    def chunks(self, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(chunks,) each: the first and the last part of every chunk. `ends` says how each part
        begins and ends."""
        opens = np.concatenate([[True], self.closes[:-1]])
        cut = opens | ((np.concatenate([[0], ends[:-1]]) & ENDS > 0) & (ends & BEGINS > 0))
        for part in np.flatnonzero(opens & (ends & UNCUT > 0)).tolist():
            length = int(np.argmax(self.closes[part:]))
            cut[part + 1 : part + 1 + length] = False
        heads = np.flatnonzero(cut)
        return heads, np.append(heads[1:], len(cut)) - 1
