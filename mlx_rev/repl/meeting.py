"""The command that gives the story in hand another beginning, and writes what is between."""

import io
import re
import shlex
from collections.abc import Iterator
from dataclasses import replace
from itertools import zip_longest
from typing import TYPE_CHECKING

from mlx_rev.errors import ConfigError
from mlx_rev.generate.infill import SEEDS_OF_MEETING, Attempt, Meeting, meeting
from mlx_rev.generate.story import Story
from mlx_rev.generate.teller import Teller, load
from mlx_rev.repl.command import Command, Given, Option, path_of
from mlx_rev.repl.replies import Meets, Met, Reply, Says
from mlx_rev.repl.transcript import Settled

if TYPE_CHECKING:
    from mlx_rev.repl.session import Session

_JUDGE = Option("--judge", "MODEL")
_ADVICE = "name a model that does: /begin --judge MODEL TEXT"


def forwards(teller: Teller) -> Teller | None:
    """The teller that reads forwards: itself, or the other direction of its model, if it has
    one."""
    return teller.opposite if teller.grows_leftwards else teller


def met(session: "Session", forward: Teller, beginning: str, ending: str) -> Iterator[Reply]:
    """Two stories that grow towards each other, then those that were chosen, then Met; that is left
    out if the session is stopped before. Raises ConfigError for what cannot meet."""
    [story] = session.begun([ending])
    seeds, seed = session.settings, session.settings.seed + SEEDS_OF_MEETING
    session.settings = replace(session.settings, seed=seed)
    for step in meeting(session.teller, forward, beginning, ending, seeds):
        if session.stopped:
            return
        if isinstance(step, Meeting):
            yield from _growing(session, step)
            story.growth = Settled(step.beginning + step.before + step.after)
            story.beginning = step.beginning
            story.stop("boundary")
            yield Met(story, _described(step), step.good)
        else:
            yield Meets(step.stories, _stage(step), chosen=False)


def _stage(attempt: Attempt) -> str:
    done = "writing both sides"
    if attempt.judged is not None:
        done = f"judging where they meet, {attempt.judged:.0%}"
    return f"{done}, round {attempt.round} of {attempt.rounds}"


def _growing(session: "Session", found: Meeting) -> Iterator[Meets]:
    """What was chosen, a word more on both sides each time."""
    before = [match.end() for match in re.finditer(r"\s*\S+", found.before)]
    after = [match.start() for match in re.finditer(r"\S+\s*", found.after)][::-1]
    sides = Meets(
        (
            Story(prompt=found.beginning, spelling=(), leftwards=False, growth=Settled("")),
            Story(prompt=found.ending, spelling=(), leftwards=True, growth=Settled("")),
        ),
        f"they meet here, at {found.seam_bits_per_byte:.2f} bits per byte",
        chosen=True,
    )
    for left, right in zip_longest(before, after):
        if session.stopped:
            return
        if left is not None:
            sides.stories[0].growth = Settled(found.before[:left])
        if right is not None:
            sides.stories[1].growth = Settled(found.after[right:])
        yield sides


def _begin(session: "Session", given: Given) -> Iterator[Reply]:
    name, beginning = _parts(given.rest)
    ending = session.to_write_with().prompt
    named = load(path_of(name) if name.startswith("~") else name) if name else session.teller
    forward = forwards(named)
    if name and forward is None:
        raise ConfigError(f"/begin: {name} does not read forwards; {_ADVICE}")
    return told_between(session, "begin", beginning, ending, forward)


def told_between(
    session: "Session",
    command: str,
    beginning: str,
    ending: str,
    forward: Teller | None = None,
) -> Iterator[Reply]:
    """A story between the two, which is then the one in hand. Who reads forwards is, if not given,
    who did last or the model itself. Raises ConfigError where nobody does."""
    if not session.teller.grows_leftwards:
        raise ConfigError(
            f"/{command}: {session.source} does not read backwards, from an ending on; /model "
            "takes one that does"
        )
    own = forwards(session.teller)
    forward = forward or session.forward or own
    if forward is None:
        raise ConfigError(
            f"/{command}: {session.source} does not read forwards, from a beginning on; {_ADVICE}"
        )
    for reply in met(session, forward, beginning, ending):
        session.forward = None if forward is own else forward
        if isinstance(reply, Met):
            yield Says(reply.described)
            yield from session.keep([reply.story])
            yield from session.take_up(reply.story)
            return
        yield reply
    yield Says("Stopped before the two sides met; the story in hand is as it was.")


def _parts(rest: str) -> tuple[str, str]:
    """The model that is named in front of a beginning, if one is, and the beginning."""
    after = rest.removeprefix(_JUDGE.name)
    if after == rest or re.match(r"\w", after):
        return "", rest
    source = io.StringIO(after)
    lexer = shlex.shlex(source, posix=True)
    lexer.whitespace_split, lexer.commenters = True, ""
    try:
        name = lexer.get_token()
    except ValueError as error:
        raise ConfigError(f"/begin: a quotation mark is not closed in {rest!r}") from error
    beginning = source.read().strip()
    if not name or not beginning or not after[0].isspace():
        raise ConfigError("/begin --judge: needs MODEL TEXT")
    return name, beginning


def _described(meeting: Meeting) -> str:
    rounds = "1 round" if meeting.rounds == 1 else f"{meeting.rounds} rounds"
    seam = f"{meeting.seam_bits_per_byte:.2f} bits per byte"
    if meeting.good:
        return f"The two sides meet at {seam} after {rounds}, as well as most sentences do."
    return (
        f"The best of {rounds} meets at {seam}, worse than most sentences do; another /begin may "
        "do better."
    )


BEGIN = Command(
    name="begin",
    argument="TEXT",
    summary="a story from this beginning to the same ending",
    explanation="Writes a story that begins with TEXT and ends like the story in hand, word for "
    "word: a model that reads forwards goes on from TEXT, the backward one comes from the ending, "
    "and they meet where their sentences fit best. A model of both directions does both; for any "
    "other, name one that reads forwards, once: /begin --judge MODEL TEXT. After it, /again, /cut "
    "and /alternatives keep the beginning too.",
    example="/begin Once there was a fox who could not sleep.",
    takes_text=True,
    options=(_JUDGE,),
    run=_begin,
)
