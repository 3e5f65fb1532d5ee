"""Draw stories from the plots, the same ones for the same split and seed."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TypeVar

from mlx_rev.data.bundled import words
from mlx_rev.data.bundled.grammar import Plot, entity_fields, pronoun_fields
from mlx_rev.data.bundled.plots import PLOTS
from mlx_rev.errors import DataError

T = TypeVar("T")

SPLITS = ("train", "valid")
TRAIN_COUNT = 20_000
VALID_COUNT = 1_000
HELD_OUT_ONE_IN = 12
OPTIONAL_CHANCE = 0.4
TWO_PARAGRAPHS_CHANCE = 0.4
CLOSING_CHANCE = 0.15
DUPLICATE_TRIES = 50


@dataclass(frozen=True)
class Story:
    """A story and what it is about. `text` ends with `ending`, which starts at a sentence."""

    text: str
    ending: str
    plot: str
    name: str
    object: str
    facts: Mapping[str, str] = field(default_factory=dict, compare=False)
    """Every role of the story (hero, friend, parent, object, other, place) with its word."""


def is_held_out(plot: str, name: str, thing: str) -> bool:
    """Whether the combination is kept from training; the same for every seed."""
    digest = hashlib.sha256(f"{plot}|{name}|{thing}".encode()).digest()
    return int.from_bytes(digest[:4], "big") % HELD_OUT_ONE_IN == 0


@cache
def combinations(split: str) -> tuple[tuple[tuple[str, str], ...], ...]:
    """For each plot, in the order of `PLOTS`, the split's pairs of name and object."""
    wanted = split == "valid"
    return tuple(
        tuple(
            (name, thing)
            for name in words.NAMES
            for thing in plot.objects
            if is_held_out(plot.name, name, thing) == wanted
        )
        for plot in PLOTS
    )


def stories(split: str = "train", *, seed: int = 0, count: int | None = None) -> Iterator[Story]:
    """The stories of a split, drawn with the seed.

    The first stories do not depend on how many are asked for. No text occurs twice. A combination
    of plot, name and object is either in `train` or in `valid`.
    """
    if split not in SPLITS:
        raise DataError(f"unknown split {split!r}: the bundled stories have {' and '.join(SPLITS)}")
    if count is None:
        count = TRAIN_COUNT if split == "train" else VALID_COUNT
    if count < 0:
        raise DataError(f"cannot make {count} stories; expected 0 or more")
    return _drawn(split, seed, count)


def _drawn(split: str, seed: int, count: int) -> Iterator[Story]:
    # A string seed is hashed by `random` with SHA-512, so it is the same on every machine.
    rng = random.Random(f"{split}:{seed}")
    pairs = combinations(split)
    seen: set[str] = set()
    for _ in range(count):
        for _ in range(DUPLICATE_TRIES):
            number = int(rng.random() * len(PLOTS))
            story = _tell(PLOTS[number], _pick(rng, pairs[number]), rng)
            if story.text not in seen:
                break
        seen.add(story.text)
        yield story


def _pick(rng: random.Random, items: tuple[T, ...]) -> T:
    # `random()` gives the same sequence in all Python versions; `choice` does not promise to.
    return items[int(rng.random() * len(items))]


def _pick_other(rng: random.Random, items: tuple[str, ...], taken: str) -> str:
    while (item := _pick(rng, items)) == taken:
        pass
    return item


def _cast(plot: Plot, pair: tuple[str, str], rng: random.Random) -> dict[str, str]:
    """Who and what plays each role of the plot."""
    name, thing = pair
    cast = {"hero": name, "object": thing}
    if "friend" in plot.roles:
        cast["friend"] = _pick_other(rng, words.NAMES, name)
    if "parent" in plot.roles:
        cast["parent"] = _pick(rng, words.PARENTS)
    if "other" in plot.roles:
        cast["other"] = _pick_other(rng, plot.objects, thing)
    if "place" in plot.roles:
        cast["place"] = _pick(rng, plot.places)
    return cast


@cache
def _fields(role: str, word: str) -> Mapping[str, str]:
    fields = entity_fields(role, word)
    gender = words.GENDERS.get(word)
    return fields if gender is None else fields | pronoun_fields(role, gender)


def _tell(plot: Plot, pair: tuple[str, str], rng: random.Random) -> Story:
    cast = _cast(plot, pair, rng)
    fields: dict[str, str] = {}
    for role, word in cast.items():
        fields.update(_fields(role, word))
    two_paragraphs = rng.random() < TWO_PARAGRAPHS_CHANCE
    parts: list[str] = []
    sentence = ""
    for number, slot in enumerate(plot.slots):
        if slot.optional and rng.random() >= OPTIONAL_CHANCE:
            continue
        if parts:
            parts.append("\n" if two_paragraphs and number == plot.break_before else " ")
        sentence = _pick(rng, slot.wordings).format_map(fields)
        parts.append(sentence)
    closing = " " + _pick(rng, words.CLOSINGS) if rng.random() < CLOSING_CHANCE else ""
    text = "".join(parts) + closing
    return Story(text, sentence + closing, plot.name, cast["hero"], cast["object"], cast)


@cache
def fingerprint() -> str:
    """A SHA-256 that changes with the plots, the word lists or the way stories are drawn.

    The first stories of both splits are hashed too, so changes to the generator's code show.
    """
    digest = hashlib.sha256()
    parameters = (
        TRAIN_COUNT, VALID_COUNT, HELD_OUT_ONE_IN, OPTIONAL_CHANCE, TWO_PARAGRAPHS_CHANCE,
        CLOSING_CHANCE, DUPLICATE_TRIES,
    )  # fmt: skip
    for item in (parameters, PLOTS, words.CLASSES, words.GENDERS, words.CLOSINGS):
        digest.update(repr(item).encode())
    for split in SPLITS:
        for story in stories(split, count=100):
            digest.update(f"{story!r}\0".encode())
    return digest.hexdigest()
