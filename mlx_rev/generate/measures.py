"""Faults of a story that its reader sees, and how it repeats itself: all from the text alone.

What counts as a content word, and how a hero is introduced, is known for English only; in another
language the figures of real stories, measured alike, stand beside the model's.
"""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from mlx_rev.text import words

LOOP_SHARE = 0.08
"""A content word that is more than this share of the words: the story goes round in circles."""
_FEW_CAPITALS = 0.1
"""A name is written small at most this often for each time it is written large."""
_QUOTES = (("“", "”"), ("«", "»"))

_INTRODUCED = re.compile(r"\b(?:named|called) ([^\W\d_a-z]\w*)")
_ASCII_WORD = re.compile(r"(?<!\w)[a-z](?:[\w']*\w)?")
_CAPITALISED_INSIDE = re.compile(r"(?<=[^\W_],[ ])[^\W\d_a-z]\w+|(?<=[^\W_][ ])[^\W\d_a-z]\w+")
_CAPITALISED = re.compile(r"\b[^\W\d_a-z]\w+")
_ENGLISH = """
a an the this that these those my your his her its our their some any no each every all both
another other such i you he she it we they me him them us mine yours hers ours theirs who what
which whom whose myself yourself himself herself itself ourselves themselves and or but so if
because as when while than then though until although nor of to in on at by for with from into
onto out up down off over under about after before around through near inside behind between
again away back along without am is are was were be been being have has had having do does did
doing done can could will would shall should may might must cannot not never very too just
only also there here now how why where more most much many yes oh
"""
_FUNCTION_WORDS = frozenset(_ENGLISH.split())


@dataclass(frozen=True)
class EndedStory:
    """A story and the ending that it was to have."""

    text: str
    """In reading order; it ends with `ending`."""
    ending: str
    whole: bool = True
    """Whether it was written to its beginning."""

    @property
    def body(self) -> str:
        """What comes before the ending."""
        return self.text[: len(self.text) - len(self.ending)].rstrip()


def words_of(text: str) -> list[str]:
    """The words of a text, in small letters, without numbers."""
    text = text.replace("’", "'").lower()
    if text.isascii():
        return _ASCII_WORD.findall(text)  # the same, four times as fast
    parts = words.with_marks().parts(text)[1::2]
    found = (part.strip("'") for part in parts)
    return [word for word in found if word[:1].isalpha()]


def is_content_word(word: str) -> bool:
    """Whether a word in small letters is neither an English function word nor short for one, such
    as "didn't" or "let's"."""
    return word not in _FUNCTION_WORDS and not re.search(r"(n't|'(?!s$)\w+)$|^(it|let)'s$", word)


def commonest_share(story: EndedStory) -> float:
    """The share of all words that the commonest content word is."""
    found = words_of(story.text)
    counts = Counter(filter(is_content_word, found))
    return max(counts.values(), default=0) / max(1, len(found))


def distinct(story: EndedStory, n: int) -> float:
    """Different runs of n words among all (Li et al., "A Diversity-Promoting Objective Function for
    Neural Conversation Models", 2016), of one story: 1 where none is repeated."""
    found = words_of(story.text)
    runs = list(zip(*(found[start:] for start in range(n)), strict=False))
    return len(set(runs)) / len(runs) if runs else 1.0


def has_unbalanced_quotes(story: EndedStory) -> bool:
    """Whether some quotation is opened and not closed, or the other way round."""
    text = story.text
    return text.count('"') % 2 == 1 or any(
        text.count(opening) != text.count(closing) for opening, closing in _QUOTES
    )


def known_names(texts: Iterable[str]) -> frozenset[str]:
    """The names in texts: words written large inside sentences, and hardly ever small."""
    large: Counter[str] = Counter()
    small: Counter[str] = Counter()
    for text in texts:
        large.update(_CAPITALISED_INSIDE.findall(text))
        small.update(re.findall(r"\b[a-z]\w*", text))
    return frozenset(
        word for word, count in large.items() if small[word.lower()] <= _FEW_CAPITALS * count
    )


def has_stray_name(story: EndedStory, names: frozenset[str]) -> bool:
    """Whether the ending has a name that the story before it has not, or its hero was renamed:
    introduced by a name that does not come again, while the ending has another."""
    body = story.body
    at_the_end = names & set(_CAPITALISED.findall(story.ending))
    if not at_the_end <= set(_CAPITALISED.findall(body)):
        return True
    hero = _INTRODUCED.search(body)
    if hero is None or not at_the_end:
        return False
    return hero[1] not in _CAPITALISED.findall(story.text[hero.end() :])


def unknown_share(story: EndedStory, vocabulary: frozenset[str]) -> float:
    """The share of all words that are not in a vocabulary of words in small letters."""
    found = words_of(story.text)
    return sum(word not in vocabulary for word in found) / max(1, len(found))
