"""Where the sentences of a story end, and so where its ending begins."""

import re

_GAP = re.compile(r"""(?:(?<=[.!?…])|(?<=[.!?…]["'”’»)]))\s+|(?<=[。！？।؟۔])\s*|\s*\n\s*""")
_FEWEST_WORDS = 3
"""An ending of fewer words, such as "The end.", says nothing of its story."""


def sentences(text: str) -> list[str]:
    """The sentences of a text, without the white space between them. A line break ends one too."""
    return [sentence for sentence in _GAP.split(text) if sentence]


def last_sentences(story: str) -> str:
    """How a story ends: its last sentence, and those before it while there are fewer than three
    words. It stands in the story as it is given; the whole story where there is no more."""
    end = len(story)
    starts = [0, *(gap.end() for gap in _GAP.finditer(story) if gap.end() < end)]
    for start in reversed(starts):
        ending = story[start:]
        if len(ending.split()) >= _FEWEST_WORDS or (start and not ending.isascii()):
            return ending
    return story
