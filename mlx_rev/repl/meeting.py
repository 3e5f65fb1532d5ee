"""The command that gives the story in hand another beginning, and writes what is between."""

import io
import shlex
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from mlx_rev.errors import ConfigError
from mlx_rev.generate.infill import SEEDS_OF_MEETING, Meeting, meet
from mlx_rev.generate.teller import load
from mlx_rev.repl.command import Command, Given, path_of
from mlx_rev.repl.replies import Reply, Says
from mlx_rev.repl.transcript import Settled

if TYPE_CHECKING:
    from mlx_rev.repl.session import Session

_JUDGE = "--judge "


def _begin(session: "Session", given: Given) -> Iterator[Reply]:
    name, beginning = _parts(given.rest)
    ending, forward = session.in_hand().prompt, session.teller.opposite
    if name:
        forward = load(path_of(name) if name.startswith("~") else name)
    if forward is None:
        raise ConfigError(
            f"/begin: {session.source} does not read forwards; name a model that does: "
            "/begin --judge MODEL TEXT"
        )
    [story] = session.begun([ending])
    meeting = meet(
        session.teller,
        forward,
        beginning,
        ending,
        session.settings,
        progress=lambda share: session.progress("meeting in the middle", share),
    )
    seed = session.settings.seed + SEEDS_OF_MEETING
    session.settings = replace(session.settings, seed=seed)
    story.growth = Settled(meeting.text.removesuffix(ending))
    story.stop("boundary")
    yield Says(_described(meeting))
    yield from session.keep([story])
    yield from session.take_up(story)


def _parts(rest: str) -> tuple[str, str]:
    """The model that is named in front of a beginning, if one is, and the beginning."""
    if not rest.startswith(_JUDGE):
        return "", rest
    source = io.StringIO(rest.removeprefix(_JUDGE))
    lexer = shlex.shlex(source, posix=True)
    lexer.whitespace_split, lexer.commenters = True, ""
    try:
        name = lexer.get_token()
    except ValueError as error:
        raise ConfigError(f"/begin: a quotation mark is not closed in {rest!r}") from error
    beginning = source.read().strip()
    if not name or not beginning:
        raise ConfigError("/begin --judge: needs MODEL TEXT")
    return name, beginning


def _described(meeting: Meeting) -> str:
    rounds = "1 round" if meeting.rounds == 1 else f"{meeting.rounds} rounds"
    seam = f"{meeting.seam_bits_per_byte:.2f} bits per byte"
    if meeting.good:
        return f"The two sides meet at {seam} after {rounds}, as well as most sentences do."
    return (
        f"The best seam that {rounds} gave has {seam}, more than most; /begin again may do better."
    )


BEGIN = Command(
    name="begin",
    argument="TEXT",
    summary="a story from this beginning to the same ending",
    explanation="Writes a story that begins with TEXT and has the ending of the story in hand, "
    "both as they stand: a model that reads forwards goes on from TEXT, the backward one comes "
    "from the ending, and they meet where the sentences fit best. A model of both directions does "
    "both; for any other, name one that reads forwards: /begin --judge MODEL TEXT.",
    example="/begin Once there was a fox who could not sleep.",
    run=_begin,
)
