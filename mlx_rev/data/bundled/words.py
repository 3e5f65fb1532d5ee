"""The people, things and places of the bundled stories.

Every entity is one word, so that a text can be searched for them with one dictionary look-up a
word. A word belongs to one class only (see `CLASSES`); a thing may belong to several kinds.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

Gender = Literal["girl", "boy"]

GIRLS = ("Lily", "Mia", "Anna", "Lucy", "Sara")
BOYS = ("Tom", "Ben", "Sam", "Max", "Tim")
NAMES = GIRLS + BOYS
PARENTS = ("Mom", "Dad", "Grandma", "Grandpa")
GENDERS: dict[str, Gender] = {
    **dict.fromkeys(GIRLS, "girl"),
    **dict.fromkeys(BOYS, "boy"),
    "Mom": "girl",
    "Grandma": "girl",
    "Dad": "boy",
    "Grandpa": "boy",
}

# What may follow the last sentence of any story.
CLOSINGS = ("They all lived happily ever after.", "The end.")

# Things, by what can happen to them.
BAKED = ("cake", "pie", "muffin", "pudding", "pancake", "cookie")
BOATS = ("boat", "ship", "raft", "canoe")
CLOTHES = ("hat", "coat", "sweater", "vest", "jacket")
FLYING = ("kite", "ball", "balloon", "frisbee", "hat", "scarf")
FURNITURE = ("chair", "table", "bench", "box", "desk")
GIFTS = ("scarf", "cup", "lamp", "umbrella", "necklace", "hat")
GOLDEN = ("ring", "watch", "necklace", "key", "bell")
HIDING = ("basket", "box", "barrel", "chest", "trunk")
LIGHTS = ("lantern", "candle", "lamp", "torch")
MUSIC = ("drum", "trumpet", "horn", "whistle", "guitar")
NIGHT = ("owl", "mouse", "kitten", "squirrel", "puppy")
PAPER = ("card", "mask", "puppet", "crown", "hat", "kite", "lantern")
PETS = ("kitten", "puppy", "rabbit", "lamb", "goat", "hen")
PICNIC = ("cake", "pie", "muffin", "sandwich", "pizza")
PLANTS = ("sunflower", "pumpkin", "tomato", "carrot", "melon", "onion")
PLAYTHINGS = ("ball", "kite", "frisbee", "wagon", "train", "truck")
POCKET = ("ring", "key", "coin", "watch", "whistle", "bell")
PRIZES = ("cup", "medal", "crown", "bell")
RIDES = ("bike", "scooter", "tricycle", "skateboard")
SAND = ("castle", "tower", "bridge", "fort")
SOFT = ("teddy", "doll", "bunny", "blanket", "puppet")
SNACKS = ("muffin", "pancake", "cookie", "sandwich", "apple", "orange")
TOYS = ("doll", "truck", "train", "robot", "puppet", "boat", "drum")
VEHICLES = ("wagon", "cart", "truck", "tractor", "van")
WHOLE = ("cake", "pie", "pudding", "pizza", "tart")
WILD = ("squirrel", "hedgehog", "owl", "fox", "rabbit")

# Places, by the words that go before them.
GREEN = ("park", "garden", "meadow", "field", "yard")  # in the ...
WATER = ("river", "lake", "pond", "stream")  # on the ...
TRIPS = ("park", "beach", "market", "library", "playground", "farm")  # at the ...
ROOMS = ("attic", "cellar", "barn", "garage")  # in the ...

THINGS: tuple[str, ...] = tuple(
    sorted(
        {
            *BAKED, *BOATS, *CLOTHES, *FLYING, *FURNITURE, *GIFTS, *GOLDEN, *HIDING, *LIGHTS,
            *MUSIC, *NIGHT, *PAPER, *PETS, *PICNIC, *PLANTS, *PLAYTHINGS, *POCKET, *PRIZES,
            *RIDES, *SAND, *SOFT, *SNACKS, *TOYS, *VEHICLES, *WHOLE, *WILD,
        }
    )
)  # fmt: skip
PLACES: tuple[str, ...] = tuple(
    sorted({*GREEN, *WATER, *TRIPS, *ROOMS, "forest", "hill", "kitchen"})
)

CLASSES: dict[str, tuple[str, ...]] = {
    "name": NAMES,
    "parent": PARENTS,
    "thing": THINGS,
    "place": PLACES,
}


def class_of_words() -> dict[str, str]:
    """Each entity's word with its class. Raises ValueError for a word that has two."""
    found: dict[str, str] = {}
    for class_name, words in CLASSES.items():
        for word in words:
            if found.setdefault(word, class_name) != class_name:
                raise ValueError(f"{word!r} is both a {found[word]} and a {class_name}")
    return found


def with_article(word: str) -> str:
    """The word after its indefinite article; for every listed word the first letter decides it."""
    return f"{article_of(word)} {word}"


def article_of(word: str) -> str:
    """`an` before a vowel letter, otherwise `a`."""
    return "an" if word[:1] in "aeiou" else "a"


def listed(words: Iterable[str]) -> str:
    """The words as a person would list them, for messages."""
    return ", ".join(words)
