"""Texts and templates in one form that can be compared: sentences with their entities cut out.

A sentence becomes a key (its words, with each name, parent, thing and place replaced by a mark of
its class) and the list of what was cut out. A wording of a plot becomes the keys of its sentences,
once for every gender its pronouns may show. So a text is matched by dictionary look-ups, in time
that grows with its length alone.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from mlx_rev.data.bundled.grammar import (
    FIELD,
    PRONOUN_PREFIXES,
    ROLE_CLASSES,
    Plot,
    Slot,
    entity_fields,
    gendered_role,
    is_pronoun,
    pronoun_fields,
)
from mlx_rev.data.bundled.plots import PLOTS
from mlx_rev.data.bundled.words import Gender, article_of, class_of_words

WORD = re.compile(r"[A-Za-z]+")
SENTENCE_GAP = re.compile(r'(?:(?<=[.!?])|(?<=[.!?]"))[ \n](?=["A-Z])')
MARKS = {"name": "\ue000", "parent": "\ue001", "thing": "\ue002", "place": "\ue003"}
GENDERS: tuple[Gender, ...] = ("girl", "boy")
# Words that are in no list stand for the roles while the templates are read, so that a template's
# own words ("a box on the floor") are never taken for a role's. A person's is capitalized.
STAND_INS = {
    role: ("xx" if kind in ("thing", "place") else "Xx") + role
    for role, kind in ROLE_CLASSES.items()
}


@dataclass(frozen=True)
class Sentence:
    """A sentence of a text: its key, its entities in order, and its wrong articles."""

    text: str
    key: str
    entities: tuple[str, ...]
    wrong_articles: tuple[str, ...]


@dataclass(frozen=True)
class Variant:
    """A wording with one choice of genders.

    `roles` has an entry for every entity of its sentences in order: (role, "") for a role, and
    ("", word) for a word that belongs to the wording itself.
    """

    roles: tuple[tuple[str, str], ...]
    sentence_of: tuple[int, ...]
    genders: tuple[tuple[str, Gender], ...]


@dataclass(frozen=True)
class SlotPattern:
    """The wordings of a slot by the keys of their sentences."""

    optional: bool
    lengths: tuple[int, ...]
    variants: Mapping[tuple[str, ...], tuple[Variant, ...]]


@dataclass(frozen=True)
class PlotPattern:
    """A plot, ready to read texts."""

    plot: Plot
    slots: tuple[SlotPattern, ...]


@cache
def text_lexicon() -> Mapping[str, str]:
    """The class of each entity's word."""
    return class_of_words()


@cache
def _template_lexicon() -> Mapping[str, str]:
    stand_ins = {word: ROLE_CLASSES[role] for role, word in STAND_INS.items()}
    return {**text_lexicon(), **stand_ins}


def split_sentences(text: str) -> list[str]:
    """The sentences of a text; a quotation stays with what follows it in the same sentence."""
    return SENTENCE_GAP.split(text)


def read_sentence(text: str, lexicon: Mapping[str, str]) -> Sentence:
    """Cut the entities out of a sentence."""
    parts: list[str] = []
    entities: list[str] = []
    wrong: list[str] = []
    done = 0
    article = ""
    article_end = -2
    for match in WORD.finditer(text):
        word = match.group()
        start, end = match.span()
        if word in ("a", "an", "A", "An"):
            article, article_end = word, end
        elif word in lexicon:
            entities.append(word)
            before = text[done:start]
            if article_end == start - 1 and text[article_end] == " ":
                if article.lower() != article_of(word):
                    wrong.append(f"{article} {word}")
                # The key has the same article for all words of the class.
                before = before[: len(before) - len(article) - 1] + article[0] + " "
            parts += (before, MARKS[lexicon[word]])
            done = end
    parts.append(text[done:])
    return Sentence(text, "".join(parts), tuple(entities), tuple(wrong))


def _variant(wording: str, genders: Mapping[str, Gender]) -> tuple[tuple[str, ...], Variant]:
    fields: dict[str, str] = {}
    for role, word in STAND_INS.items():
        fields.update(entity_fields(role, word))
    for role in PRONOUN_PREFIXES:
        fields.update(pronoun_fields(role, genders.get(role, "girl")))
    role_of = {word: role for role, word in STAND_INS.items()}
    sentences = [
        read_sentence(sentence, _template_lexicon())
        for sentence in split_sentences(wording.format_map(fields))
    ]
    roles: list[tuple[str, str]] = []
    sentence_of: list[int] = []
    for number, sentence in enumerate(sentences):
        for word in sentence.entities:
            role = role_of.get(word, "")
            roles.append((role, "" if role else word))
            sentence_of.append(number)
    keys = tuple(sentence.key for sentence in sentences)
    return keys, Variant(tuple(roles), tuple(sentence_of), tuple(genders.items()))


def _slot_pattern(slot: Slot) -> SlotPattern:
    found: dict[tuple[str, ...], list[Variant]] = {}
    for wording in slot.wordings:
        pronouns = filter(is_pronoun, FIELD.findall(wording))
        people = sorted({gendered_role(field) for field in pronouns})
        for genders in itertools.product(GENDERS, repeat=len(people)):
            keys, variant = _variant(wording, dict(zip(people, genders, strict=True)))
            found.setdefault(keys, []).append(variant)
    return SlotPattern(
        slot.optional,
        tuple(sorted({len(keys) for keys in found})),
        {keys: tuple(variants) for keys, variants in found.items()},
    )


@cache
def plot_patterns() -> tuple[PlotPattern, ...]:
    """All plots, compiled at the first use."""
    return tuple(PlotPattern(plot, tuple(map(_slot_pattern, plot.slots))) for plot in PLOTS)
