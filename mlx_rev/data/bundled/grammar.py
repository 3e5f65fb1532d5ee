"""The shape of a plot: sentence slots, their wordings, and the roles their words refer to.

A plot is written as a script, one wording a line, and a blank line between slots:

    @opening                      the shared first sentence
    ? {He} felt very sad.         a line of an optional slot (every line of it has the mark)
    --                            where the second paragraph may begin
    {hero} thanked {friend}.      the last slot is the ending

The same table drives the generator and the checker.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

from mlx_rev.data.bundled.words import Gender, with_article

ROLE_CLASSES: dict[str, str] = {
    "hero": "name",
    "friend": "name",
    "parent": "parent",
    "object": "thing",
    "other": "thing",
    "place": "place",
}
"""The roles of a story and the class of words that may play each."""

PRONOUN_PREFIXES: dict[str, str] = {"hero": "", "friend": "f_", "parent": "p_"}

PRONOUNS: dict[Gender, dict[str, str]] = {
    "girl": {
        "he": "she", "He": "She", "him": "her", "his": "her", "His": "Her",
        "himself": "herself", "boy": "girl",
    },
    "boy": {
        "he": "he", "He": "He", "him": "him", "his": "his", "His": "His",
        "himself": "himself", "boy": "boy",
    },
}  # fmt: skip

OPENING = (
    "Once upon a time, there was a little {boy} named {hero}.",
    "Once upon a time, there lived a {boy} named {hero}.",
    "There was once a little {boy} named {hero}.",
)

FIELD = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class Slot:
    """One place in a plot, filled by one of its wordings; an optional one may stay empty."""

    wordings: tuple[str, ...]
    optional: bool = False


@dataclass(frozen=True)
class Plot:
    """A kind of story: what may be its object and place, and its slots from first to last."""

    name: str
    objects: tuple[str, ...]
    places: tuple[str, ...]
    slots: tuple[Slot, ...]
    break_before: int
    """The slot that begins the second paragraph when a story has two."""

    @cached_property
    def roles(self) -> frozenset[str]:
        """The roles that some wording of the plot mentions."""
        fields = {
            field for slot in self.slots for text in slot.wordings for field in FIELD.findall(text)
        }
        return frozenset(role for role in map(role_of_field, fields))

    def allowed(self, role: str) -> tuple[str, ...] | None:
        """The words that may play the role in this plot, or None for any word of its class."""
        if role in ("object", "other"):
            return self.objects
        return self.places if role == "place" else None


def role_of_field(field: str) -> str:
    """The role that a template's field refers to, by name, article or pronoun."""
    bare = field.removeprefix("a_")
    if bare in ROLE_CLASSES:
        return bare
    return gendered_role(field)


def gendered_role(field: str) -> str:
    """The role whose gender a pronoun field shows."""
    for role, prefix in PRONOUN_PREFIXES.items():
        if prefix and field.startswith(prefix):
            return role
    return "hero"


def is_pronoun(field: str) -> bool:
    """Whether the field is filled by a word that shows a person's gender."""
    return field.removeprefix("a_") not in ROLE_CLASSES


def pronoun_fields(role: str, gender: Gender) -> dict[str, str]:
    """What the pronoun fields of one person are filled with."""
    prefix = PRONOUN_PREFIXES[role]
    return {prefix + field: word for field, word in PRONOUNS[gender].items()}


def entity_fields(role: str, word: str) -> dict[str, str]:
    """What the fields of one role's word are filled with."""
    if ROLE_CLASSES[role] == "thing":
        return {role: word, f"a_{role}": with_article(word)}
    return {role: word}


def read_plot(
    name: str, script: str, objects: tuple[str, ...], places: tuple[str, ...] = ()
) -> Plot:
    """Read a plot from its script."""
    slots: list[Slot] = []
    break_before = 0
    for block in re.split(r"\n\s*\n", script.strip()):
        lines = [" ".join(line.split()) for line in block.splitlines()]
        if lines[0] == "--":
            break_before = len(slots)
            lines = lines[1:]
        if lines == ["@opening"]:
            slots.append(Slot(OPENING))
            continue
        optional = lines[0].startswith("? ")
        slots.append(Slot(tuple(line.removeprefix("? ") for line in lines), optional))
    return Plot(name, objects, places, tuple(slots), break_before)
