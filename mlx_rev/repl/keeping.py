"""Commands about what is kept: the history, files, and the sessions before this one."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from mlx_rev.errors import ConfigError
from mlx_rev.generate.story import Story
from mlx_rev.repl.command import FORCE, Command, Given, Option, path_of
from mlx_rev.repl.names import short_name
from mlx_rev.repl.replies import Lists, Reply, Says
from mlx_rev.repl.saving import save_story
from mlx_rev.repl.transcript import Kept, sessions

if TYPE_CHECKING:
    from mlx_rev.repl.session import Session


def _save(session: "Session", given: Given) -> Iterator[Reply]:
    path, options = path_of(given.argument), given.options
    number = options.get(_STORY.name)
    story = session.in_hand() if number is None else _numbered(session, "save", number)
    save_story(story, path, force=FORCE.name in options)
    yield Says(f"saved as {path}")


def _history(session: "Session", given: Given) -> Iterator[Reply]:
    if not session.told:
        session.in_hand()  # says that there is none
    if given.rest:
        yield from session.take_up(_numbered(session, "history", given.rest))
        return
    standing, seeds = session.standing, max(len(str(story.seed)) for story in session.told)
    rows = tuple(
        (
            f"{'*' if story is standing else ' '}{number:>3}",
            f"seed {story.seed:<{seeds}}  {shortened(story.text)}",
        )
        for number, story in enumerate(session.told, 1)
    )
    yield Lists(rows)


def _numbered(session: "Session", command: str, number: str) -> Story:
    short = number.isascii() and number.isdecimal() and len(number) < 9
    if not (short and 1 <= int(number) <= len(session.told)):
        raise ConfigError(
            f"/{command}: no story {number}; the /history has "
            + (f"1 to {len(session.told)}" if session.told else "none yet")
        )
    return session.told[int(number) - 1]


def _sessions(session: "Session", given: Given) -> Iterator[Reply]:
    transcript = session.transcript
    if transcript is None:
        raise ConfigError("/sessions: this session is not kept, and none before it is looked for")
    kept = sessions(transcript.folder, besides=transcript.path)
    if given.rest:
        if not kept:
            raise ConfigError("/sessions: there is no session before this one")
        yield from _reopened(session, kept[given.number(1, 1, len(kept)) - 1])
    elif kept:
        rows = tuple((str(number), _described(each)) for number, each in enumerate(kept, 1))
        after = f"/sessions N takes one up. They are kept in {transcript.folder}"
        yield Lists(rows, after)
    else:
        yield Says(f"No session before this one is kept in {transcript.folder}.")


def _reopened(session: "Session", kept: Kept) -> Iterator[Reply]:
    stories = session.reopened.setdefault(kept.path, [])
    new = kept.stories()[len(stories) :]
    stories += new
    session.told += new
    if not stories:
        raise ConfigError(f"{kept.path}: no story in it can be read")
    yield Says(f"{_counted(len(stories))} from {kept.when}, now in the /history; this is the last:")
    yield from session.take_up(stories[-1])


def _described(kept: Kept) -> str:
    stories = kept.stories()
    if not stories:
        return f"{kept.when}  nothing in it can be read"
    name = short_name(stories[-1].model)
    return f"{kept.when}  {_counted(len(stories))}  {name}  {shortened(stories[-1].text, 40)}"


def _counted(stories: int) -> str:
    return "1 story" if stories == 1 else f"{stories} stories"


def shortened(text: str, most: int = 60) -> str:
    """A text in a line of at most `most` characters."""
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 1] + "…"


_STORY = Option("--story", "N")
SAVE = Command(
    name="save",
    argument="FILE",
    summary="save the story: .md, .txt, .html, .svg or .json",
    explanation="Writes the story in hand, or, with --story N, number N of the /history. The "
    "format depends on the file's ending: .txt is the text alone, .md has the model and its "
    "settings below it, .html and .svg replay how the story grew, .json is for programs. An "
    "existing file is replaced only with --force.",
    example="/save 'my story.html'",
    takes_path=True,
    options=(_STORY, FORCE),
    run=_save,
)
HISTORY = Command(
    name="history",
    argument="[N]",
    summary="the stories so far; with a number, take one up again",
    explanation="Lists the stories of this session with their numbers, candidates included; * "
    "marks the one in hand. /history N shows story N and takes it up: the other commands are then "
    "about it.",
    example="/history 3",
    run=_history,
)
SESSIONS = Command(
    name="sessions",
    argument="[N]",
    summary="earlier sessions; with a number, take one up again",
    explanation="Lists earlier sessions. /sessions N brings the stories of one into the /history; "
    "`mlx-rev repl --continue` goes on with the last. The newest 50 are kept, on this machine only "
    "and readable by you alone; --no-transcript keeps none.",
    example="/sessions 1",
    run=_sessions,
)
