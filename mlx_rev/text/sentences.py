"""Where the sentences of a story end, and so where its ending begins."""

import re

_STOP = "。！？।؟۔"
"""Ends a sentence whether white space follows or not."""
_CLOSING = "”’»）」』】》"
_GAP = re.compile(
    r"""(?:(?<=[.!?…])|(?<=[.!?…]["'”’»)]))\s+"""
    rf"""|(?:(?<=[{_STOP}])|(?<=[{_STOP}][{_CLOSING}])|(?<=[{_STOP}][{_CLOSING}]{{2}}))"""
    rf"""(?![{_STOP}{_CLOSING}]|["')](?!\S))\s*"""
    rf"""|(?<=[{_STOP}]["')])\s+"""
    # From its first character only, or each of a run without a line break would be looked at.
    r"""|(?<!\s)[^\S\n]*\n\s*"""
)
_SHORTEST = 12
"""An ending of fewer characters, such as "The end.", says nothing of its story."""


def sentences(text: str) -> list[str]:
    """The sentences of a text, without the white space between them. A line break ends one too."""
    return [sentence for sentence in _GAP.split(text) if sentence.strip()]


def sentence_starts(text: str) -> list[int]:
    """Where each sentence of a text starts, the first at 0: the white space before the first and
    after each is part of it."""
    leading = len(text) - len(text.lstrip())
    starts = [gap.end() for gap in _GAP.finditer(text) if gap.start() > leading]
    return [0, *(start for start in starts if start < len(text))]


def last_sentences(story: str) -> str:
    """How a story ends: its last sentence, and those before it while that is short, as they stand
    in the story; the whole story where there is no more."""
    end = len(story)
    starts = [0, *(gap.end() for gap in _GAP.finditer(story) if gap.end() < end)]
    for start in reversed(starts):
        ending = story[start:]
        if len(ending) >= _SHORTEST:
            return ending
    return story


def first_sentences(text: str, least: int = _SHORTEST) -> str:
    """How a text begins: its first sentence and, while they have fewer than `least` characters
    together, those after it, without the white space around them."""
    stops = [*sentence_starts(text)[1:], len(text)]
    return next((text[:stop] for stop in stops if len(text[:stop].strip()) >= least), text).strip()
