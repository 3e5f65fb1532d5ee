"""Commands that ask for stories, or something about them."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from mlx_rev.errors import ConfigError
from mlx_rev.generate.rerank import ranked
from mlx_rev.generate.story import Story
from mlx_rev.generate.surprise import word_surprises
from mlx_rev.model.score import score_stories
from mlx_rev.repl.command import Command, Given
from mlx_rev.repl.meeting import told_between
from mlx_rev.repl.models import MODEL_OPTIONS, loaded
from mlx_rev.repl.names import Named, short_name
from mlx_rev.repl.replies import Grows, Offers, Pieces, Reply, Says, Shades

if TYPE_CHECKING:
    from mlx_rev.repl.session import Session

MOST_CANDIDATES = 16


def _again(session: "Session", given: Given) -> Iterator[Reply]:
    story = session.to_write_with()
    if story.beginning:
        return told_between(session, "again", story.beginning, story.prompt)
    return session.tell(story.prompt)


def _candidates(session: "Session", given: Given) -> Iterator[Reply]:
    count = given.number(4, 1, MOST_CANDIDATES)
    for reply in session.stories([session.to_write_with().prompt] * count):
        if isinstance(reply, Offers):
            yield from session.keep(reply.stories)
            session.offer_stories(reply.stories)
            yield replace(reply, pick=True, best=_best(session, reply.stories))
        else:
            yield reply


def _best(session: "Session", stories: Sequence[Story]) -> int | None:
    """The index of the best story; None where there is nothing to choose, or no time to."""
    if len(stories) == 1 or session.stopped:
        return None
    teller = session.teller
    try:
        best, *_ = ranked(teller.model, teller.codec, stories, teller.judge())
    except ConfigError:  # an ending that is too long for its judge
        return None
    return stories.index(best.story)


def _compare(session: "Session", given: Given) -> Iterator[Reply]:
    ending = session.to_write_with().prompt
    models = session.named, loaded(given)
    seed = session.settings.seed
    stories = tuple(session.begun([ending], by)[0] for by in models)
    grown = Grows(stories)
    for model, story in zip(models, stories, strict=True):
        session.settings = replace(session.settings, seed=seed)
        yield from session.grow(model.teller, [story], grown)
        if session.stopped:
            break
    told = [story for story in stories if story.tokens]
    yield from session.keep(told)
    both = len(told) == len(stories)
    if both:
        session.offer_stories(stories)
    yield Offers(stories, _titles(*models), pick=both)


def _titles(one: Named, other: Named) -> tuple[str, str]:
    """What tells two models apart: their names, the whole references, or the orders."""
    if one.source != other.source:
        names = short_name(one.source), short_name(other.source)
        return (one.source, other.source) if names[0] == names[1] else names
    name, orders = short_name(one.source), [each.teller.codec.order.name for each in (one, other)]
    if orders[0] == orders[1]:
        return name, name
    return f"{name} ({orders[0]})", f"{name} ({orders[1]})"


def _surprise(session: "Session", given: Given) -> Iterator[Reply]:
    story = session.own_story()
    if story.generated and not story.tokens:
        raise ConfigError(
            "no figures are kept of a story that was written from both sides, as by /begin"
        )
    if not all(0 <= token < session.teller.model.config.vocab_size for token in story.tokens):
        raise ConfigError("this story was told with another vocabulary; tell one anew")
    words: list[tuple[str, float | None]] = [
        *word_surprises(session.teller.codec, story.generated, story.tokens, story.surprises)
    ]
    words.insert(len(words) if story.leftwards else 0, (story.prompt, None))
    yield Shades(tuple(words))


def _raw(session: "Session", given: Given) -> Iterator[Reply]:
    story = session.own_story()
    yield Says(session.teller.codec.order.reverse(story.text))


def _score(session: "Session", given: Given) -> Iterator[Reply]:
    codec = session.teller.codec
    ids = np.array(codec.enclosed([given.rest])[0])
    score = score_stories(session.teller.model, [ids], len(given.rest.encode()))
    yield Says(
        f"{score.bits_per_byte:.3f} bits per byte, {score.nats_per_token / math.log(2):.3f} bits "
        f"per token, {score.tokens} tokens"
    )


def _tokens(session: "Session", given: Given) -> Iterator[Reply]:
    codec = session.teller.codec
    pieces = codec.tokenizer.piece_bytes
    yield Pieces(tuple((_spelled(pieces[token]), token) for token in codec.encode(given.rest)))


def _spelled(piece: bytes) -> str:
    """What a piece spells, or its bytes where they are no whole characters."""
    try:
        return piece.decode()
    except UnicodeDecodeError:
        return "".join(f"<0x{byte:02X}>" for byte in piece)


AGAIN = Command(
    name="again",
    summary="another story with the same ending",
    explanation="Tells another story with the same ending, and the same beginning if you gave one, "
    "from the next seed.",
    example="/again",
    run=_again,
)
CANDIDATES = Command(
    name="candidates",
    argument="[N]",
    summary="several stories at once; pick one by its number",
    explanation="Writes N stories with the same ending at once: 4 unless you say how many, at most "
    f"{MOST_CANDIDATES}. Type the number of one to go on with it. The offer stays until you do, or "
    "until you begin a new story; all of them are in the /history. The one marked as the best has "
    "most to do with its ending, among those that do not repeat themselves.",
    example="/candidates 6",
    run=_candidates,
)
COMPARE = Command(
    name="compare",
    argument="MODEL",
    summary="the same ending, told by this model and by another",
    explanation="Both models tell a story with the same ending, from the same seed. Type 1 or 2 to "
    "go on with one of them; both are in the /history. MODEL is named as for /model.",
    example="/compare runs/mine",
    takes_path=True,
    options=MODEL_OPTIONS,
    run=_compare,
)
SURPRISE = Command(
    name="surprise",
    summary="how surprising each word of the story was",
    explanation="Shows each word of the story in a style that says how surprising it was to the "
    "model, in bits: 1 bit is a choice between two equally likely words, 10 bits is one word in a "
    "thousand. Without colours, the figures stand behind the words. A story from /begin has none.",
    example="/surprise",
    run=_surprise,
)
RAW = Command(
    name="raw",
    summary="the story in the order in which the model wrote it",
    explanation="Shows the story as the model sees it: a backward model that goes word by word "
    "has written the last word first.",
    example="/raw",
    run=_raw,
)
SCORE = Command(
    name="score",
    argument="TEXT",
    summary="how well the model predicts a text",
    explanation="Reads TEXT as a whole story and says how much it surprises the model, per byte "
    "and per token: the lower, the better it fits what the model has learnt.",
    example="/score Tom had a red ball. He was happy.",
    takes_text=True,
    run=_score,
)
TOKENS = Command(
    name="tokens",
    argument="TEXT",
    summary="the pieces of a text with their ids, in model order",
    explanation="Shows what the model reads instead of letters: each piece in brackets, a space as "
    "␣ and a line break as ⏎, with its number in the vocabulary. Bytes that do not make a whole "
    "character look like <0xE4>.",
    example="/tokens They went home.",
    takes_text=True,
    run=_tokens,
)
