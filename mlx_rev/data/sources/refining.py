"""What is done to stories after they were read: mended, and kept or not by their length."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from mlx_rev.data.sources.chunk import stripped
from mlx_rev.text.sentencepiece import SPACE_MARK

_QUOTES = {"'": "ʼ‘’‚‛", '"': "“”„‟"}
_SUSPECT = re.compile(r"[^\x00-\x7f]{2}|[ÃÂ] ")
"""What decoding UTF-8 as a single-byte encoding leaves, and little else; ftfy's look is slow."""


@dataclass(frozen=True, kw_only=True)
class Refining:
    """Which stories are kept, and in what form."""

    min_chars: int = 0
    """Characters below which a story is dropped."""
    max_chars: int = 0
    """Characters above which it is; 0 is no limit."""
    limit: int = 0
    """Most stories to take of a source; 0 takes all."""
    repair: bool = False
    """Whether text is mended."""

    def __call__(self, stories: list[str]) -> list[str]:
        """Those that are kept, in their order; the limit is not applied yet."""
        if self.repair:
            mend = _mender()
            # ASCII has neither curly quotes nor anything that was decoded wrongly.
            stories = [one if one.isascii() else stripped(mend(one)) for one in stories]
            stories = [one for one in stories if one]
        if self.min_chars or self.max_chars:
            most = self.max_chars or float("inf")
            stories = [one for one in stories if self.min_chars <= len(one) <= most]
        return stories

    def described(self) -> list[str]:
        """All of it that changes the stories, for a fingerprint."""
        found = [
            f"{name} {getattr(self, name)}"
            for name in ("min_chars", "max_chars", "limit")
            if getattr(self, name)
        ]
        if self.repair:
            import ftfy

            found.append(f"repair ftfy {ftfy.__version__}")
        return found


@cache
def _mender() -> Callable[[str], str]:
    """Mends text that was decoded with the wrong encoding (â€™ for ’) and makes quotes straight;
    of all that ftfy can do, the rest would change what was meant."""
    from ftfy import fix_encoding
    from ftfy.badness import is_bad

    def fixed(line: str) -> str:
        found = fix_encoding(line)
        return line if SPACE_MARK in found else found  # No tokenizer takes one with it.

    def mended(text: str) -> str:
        if _SUSPECT.search(text) and is_bad(text):
            # Line by line: one that is right would hide what is wrong with another.
            lines = text.split("\n")
            text = "\n".join(fixed(line) if is_bad(line) else line for line in lines)
        for straight, curly in _QUOTES.items():
            for quote in curly:
                text = text.replace(quote, straight)
        return text

    return mended
