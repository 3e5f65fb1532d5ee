"""Stories from all of a corpus, as few as a vocabulary needs."""

import hashlib
import heapq
from collections.abc import Iterable

from mlx_rev.data.encoding import size_of
from mlx_rev.text.sentencepiece import TRAINING_BYTES


def sample(stories: Iterable[str], most: int = TRAINING_BYTES) -> list[str]:
    """All stories or, where they have more than `most` bytes of text in lines, about so much of
    them, in their order: those whose numbers have the lowest hashes. Takes no more memory."""
    size, limit = 0, 1 << 64
    kept: list[tuple[int, int, int, str]] = []
    for number, story in enumerate(stories):
        place = int.from_bytes(hashlib.blake2b(number.to_bytes(8), digest_size=8).digest())
        if place >= limit:
            continue
        # Line by line, as SentencePiece learns from them.
        text_bytes = size_of(story) - story.count("\n")
        heapq.heappush(kept, (-place, number, text_bytes, story))
        size += text_bytes
        while size > most and len(kept) > 1:
            place, _, text_bytes, _ = heapq.heappop(kept)
            size, limit = size - text_bytes, -place
    return [story for _, _, _, story in sorted(kept, key=lambda one: one[1])]
