"""Judge whether a story is consistent: who, what and where, from the ending to the beginning."""

from __future__ import annotations

from dataclasses import dataclass, field

from mlx_rev.data.bundled.grammar import ROLE_CLASSES, Plot
from mlx_rev.data.bundled.patterns import (
    PlotPattern,
    Sentence,
    SlotPattern,
    Variant,
    plot_patterns,
    read_sentence,
    split_sentences,
    text_lexicon,
)
from mlx_rev.data.bundled.words import CLOSINGS, GENDERS, listed

LONGEST_TEXT = 20_000
"""No story comes close to this many characters; longer texts are not read."""
MOST_PARSES = 32
SHOWN_CHARACTERS = 100


@dataclass(frozen=True)
class _Step:
    """A slot filled by a wording: the variant and its sentences."""

    variant: Variant
    sentences: tuple[Sentence, ...]

    def words(self) -> list[tuple[str, str, Sentence]]:
        """The roles it mentions, each with its word and sentence."""
        entities = [word for sentence in self.sentences for word in sentence.entities]
        return [
            (role, word, self.sentences[number])
            for (role, _), word, number in zip(
                self.variant.roles, entities, self.variant.sentence_of, strict=True
            )
            if role
        ]


@dataclass
class _Search:
    """The ways to read the sentences as one plot, and how far the best one got."""

    pattern: PlotPattern
    sentences: list[Sentence]
    whole: list[tuple[_Step, ...]] = field(default_factory=list)
    furthest: int = 0
    furthest_steps: tuple[_Step, ...] = ()

    def walk(self, slot: int = 0, position: int = 0, steps: tuple[_Step, ...] = ()) -> None:
        """Read on from a slot and a sentence."""
        if position > self.furthest:
            self.furthest, self.furthest_steps = position, steps
        if slot == len(self.pattern.slots):
            if position == len(self.sentences):
                self.whole.append(steps)
            return
        if len(self.whole) >= MOST_PARSES:
            return
        current = self.pattern.slots[slot]
        for step in _fitting(current, self.sentences, position):
            self.walk(slot + 1, position + len(step.sentences), (*steps, step))
        if current.optional:
            self.walk(slot + 1, position, steps)


def _fitting(slot: SlotPattern, sentences: list[Sentence], position: int) -> list[_Step]:
    """The wordings of the slot that the sentences at the position could be."""
    steps: list[_Step] = []
    for length in slot.lengths:
        part = tuple(sentences[position : position + length])
        variants = slot.variants.get(tuple(sentence.key for sentence in part), ())
        if not variants:
            continue
        entities = [word for sentence in part for word in sentence.entities]
        for variant in variants:
            # A text that itself contains the marks used in keys has fewer entities than the key.
            if len(entities) == len(variant.roles) and all(
                role or own == word
                for (role, own), word in zip(variant.roles, entities, strict=True)
            ):
                steps.append(_Step(variant, part))
    return steps


def check(text: str) -> list[str]:
    """The inconsistencies of a story, in words; none when it is consistent.

    A consistent story is one plot's sentences from its beginning to its ending, in any of their
    wordings, about the same people, things and places throughout; a closing such as "The end." may
    follow. Any string may be given.
    """
    if len(text) > LONGEST_TEXT:
        return [f"the text has {len(text)} characters, too many for a story"]
    stripped = _without_closing(text.strip())
    if not stripped:
        return ["there is no story"]
    lexicon = text_lexicon()
    sentences = [read_sentence(sentence, lexicon) for sentence in split_sentences(stripped)]
    articles = [
        f"wrong article in '{wrong}'" for sentence in sentences for wrong in sentence.wrong_articles
    ]
    searches = [_Search(pattern, sentences) for pattern in plot_patterns()]
    ended = [search for search in searches if _ending_steps(search)]
    for search in ended:
        search.walk()
    readings = [
        _disagreements(search.pattern.plot, steps) for search in ended for steps in search.whole
    ]
    if readings:
        return articles + min(readings, key=len)
    for search in searches:
        if not search.furthest:
            search.walk()
    return articles + _unread(searches, ended)


def _without_closing(text: str) -> str:
    for closing in CLOSINGS:
        if text.endswith(closing):
            return text.removesuffix(closing).rstrip()
    return text


def _ending_steps(search: _Search) -> list[_Step]:
    last = search.pattern.slots[-1]
    return [
        step
        for length in last.lengths
        if length <= len(search.sentences)
        for step in _fitting(last, search.sentences, len(search.sentences) - length)
        if len(step.sentences) == length
    ]


def _unread(searches: list[_Search], ended: list[_Search]) -> list[str]:
    """Why a text cannot be read as one plot from beginning to end."""
    sentences = searches[0].sentences
    begun = max(searches, key=lambda search: search.furthest)
    problems: list[str] = []
    if not ended:
        problems.append(f"no plot ends like this: '{_shown(sentences[-1].text)}'")
    elif begun not in ended and begun.furthest > ended[0].furthest:
        ending, beginning = ended[0].pattern.plot.name, begun.pattern.plot.name
        problems.append(
            f"the ending belongs to the plot '{ending}', the beginning to '{beginning}'"
        )
    if ended and begun.furthest:
        hero = _word_of("hero", _ending_steps(ended[0])[:1])
        told = _word_of("hero", list(begun.furthest_steps))
        if hero and told and hero != told:
            problems.append(f"the ending is about {hero}, the story about {told}")
    if begun.furthest < len(sentences):
        strange = _shown(sentences[begun.furthest].text)
        problems.append(f"no such sentence at this place: '{strange}'")
    if not problems:
        problems.append("the story stops before its ending")
    return problems


def _word_of(role: str, steps: list[_Step]) -> str:
    return next((word for step in steps for found, word, _ in step.words() if found == role), "")


def _disagreements(plot: Plot, steps: tuple[_Step, ...]) -> list[str]:
    """Where the people, things and places of a story that can be read differ or do not fit."""
    # From the ending back, so that the ending says who the story should be about.
    mentions = [mention for step in reversed(steps) for mention in step.words()]
    facts: dict[str, str] = {}
    problems: list[str] = []
    for role, word, sentence in mentions:
        fact = facts.setdefault(role, word)
        if word != fact:
            problems.append(_disagreement(role, fact, word, sentence))
    for one, another in (("hero", "friend"), ("object", "other")):
        if one in facts and facts[one] == facts.get(another):
            problems.append(f"the {one} and the {another} are both {facts[one]}")
    for role, word in facts.items():
        allowed = plot.allowed(role)
        if allowed is not None and word not in allowed:
            problems.append(
                f"the plot '{plot.name}' cannot be about the {role} {word}, "
                f"only about {listed(allowed)}"
            )
    for step in reversed(steps):
        for role, gender in step.variant.genders:
            name = facts.get(role, "")
            if name and GENDERS[name] != gender:
                told = _shown(" ".join(sentence.text for sentence in step.sentences))
                problems.append(f"{name} is a {GENDERS[name]}, but not in: '{told}'")
    return problems


def _disagreement(role: str, fact: str, word: str, sentence: Sentence) -> str:
    if role == "hero":
        difference = f"the ending is about {fact}, the story about {word}"
    elif ROLE_CLASSES[role] in ("thing", "place"):
        difference = f"the ending has the {fact}, the story the {word}"
    else:
        difference = f"the {role} is {fact} in the ending, {word} in the story"
    return f"{difference}: '{_shown(sentence.text)}'"


def _shown(text: str) -> str:
    if len(text) <= SHOWN_CHARACTERS:
        return text
    return text[:SHOWN_CHARACTERS] + "..."
