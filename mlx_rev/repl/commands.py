"""All commands of the REPL, and which of them a typed line is."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from mlx_rev.errors import ConfigError, nearest
from mlx_rev.repl import asking, keeping, meeting, models, writing
from mlx_rev.repl.command import Command, Given
from mlx_rev.repl.replies import Leaves, Lists, Reply, Says

if TYPE_CHECKING:
    from mlx_rev.repl.session import Session

FIGURES = (
    ("◆", "The story is complete: it reached its other end."),
    ("…", "It is still growing, was stopped, or did not fit; /more goes on with it."),
    (
        "tokens",
        "The pieces that the model wrote: a short word is one, a rare one several. Next to them, "
        "how many it wrote in a second.",
    ),
    (
        "bits per token",
        "How surprised the model was by what it wrote, on average: 1 bit is a choice between two "
        "equally likely pieces, 3 bits is one between eight. Low is plain or repetitive, high is "
        "odd. /surprise shows it word by word.",
    ),
    (
        "bits per byte",
        "How surprised a model is by a text that it did not write, for each byte of it: the lower, "
        "the better it knows such texts. It can be compared between models.",
    ),
    (
        "seed",
        "The number that chance starts from. The same seed, ending and settings tell the same "
        "story again; each new story takes the next seed.",
    ),
)
"""What stands beside a story, and what it means."""
KEYS = (
    ("Enter", "tell a story from what was typed"),
    ("Alt-Enter", "start a new line in it"),
    ("Tab", "complete a command, a setting or a path"),
    ("Up, Ctrl-R", "bring back what was typed before; search it"),
    (
        "Ctrl-C",
        "stop a story and keep what there is of it (nothing of a /begin); clear the line",
    ),
    ("Ctrl-Z", "go back to the shell; fg returns"),
    ("Ctrl-D", "leave"),
)
TOPICS = {"figures": FIGURES, "keys": KEYS}
"""What /help explains besides commands."""


def _help(session: "Session", given: Given) -> Iterator[Reply]:
    topic = given.rest.removeprefix("/").lower()
    if not topic:
        rows = tuple((each.short_usage, each.summary) for each in COMMANDS.values())
        prompt = "an ending" if session.teller.grows_leftwards else "an opening"
        yield Lists(
            rows,
            f"Any other line is {prompt}; put a space in front of one that starts with /.\n"
            "/help COMMAND explains one; /help figures and /help keys explain the rest.",
        )
    elif topic in TOPICS:
        yield Lists(TOPICS[topic])
    elif command := named(topic):
        yield Says(explained(command))
    else:
        known = [*COMMANDS, *TOPICS]
        raise ConfigError(
            f"/help {given.rest}: {nearest(topic, known, '/help lists the commands')}"
        )


def explained(command: Command) -> str:
    """A command's usage, what it does, its other names and an example."""
    lines = [command.usage, "", command.explanation, "", f"Example: {command.example}"]
    if command.aliases:
        lines.append("Also: " + ", ".join(command.aliases))
    return "\n".join(lines)


def _quit(session: "Session", given: Given) -> Iterator[Reply]:
    yield Leaves()


HELP = Command(
    name="help",
    argument="[COMMAND]",
    summary="this list, or one command with an example",
    explanation="Lists the commands. /help COMMAND explains one, with an example. /help figures, "
    "or a question mark alone, explains what stands beside a story: the mark, the bits, the seed. "
    "/help keys says what the keys do. The first letters of a command will do, three or more, "
    "where no other one begins like that: /alt is /alternatives.",
    example="/help cut",
    aliases=("/?", "help"),
    run=_help,
)
QUIT = Command(
    name="quit",
    summary="leave; so does Ctrl-D",
    explanation="Leaves. The stories of the session stay where /sessions finds them.",
    example="/quit",
    aliases=("/exit", "/bye", "quit", "exit"),
    run=_quit,
)

GROUPS: tuple[tuple[str, tuple[Command, ...]], ...] = (
    ("Asking", (asking.AGAIN, asking.CANDIDATES, asking.COMPARE, meeting.BEGIN)),
    (
        "Writing",
        (writing.MORE, writing.CUT, writing.EDIT, writing.ALTERNATIVES, writing.UNDO),
    ),
    ("Looking", (asking.SURPRISE, asking.RAW, asking.SCORE, asking.TOKENS)),
    ("Keeping", (keeping.SAVE, keeping.HISTORY, keeping.SESSIONS)),
    ("Models", (models.INFO, models.MODEL, models.EXPORT, models.SETTINGS, models.SET)),
    ("Other", (HELP, QUIT)),
)
COMMANDS = {command.name: command for _, group in GROUPS for command in group}
_ALIASES = {alias: command for command in COMMANDS.values() for alias in command.aliases}
NAMES = COMMANDS | {alias.removeprefix("/"): command for alias, command in _ALIASES.items()}
"""All names of commands, other ones included, without a slash."""
_FEWEST_LETTERS = 3
"""By which a command may be called for short."""


def named(name: str) -> Command | None:
    """The command of that name, or the only one whose name begins like that."""
    name = name.lower()
    if name in NAMES:
        return NAMES[name]
    found = {each.name: each for known, each in NAMES.items() if known.startswith(name)}
    if len(found) == 1 and len(name) >= _FEWEST_LETTERS:
        return found.popitem()[1]
    return None


def read(line: str) -> Given | None:
    """The command that a line is, or None for an ending: only a `/` at its very start makes one,
    and a line that is nothing but a word of those who want to leave or to have help.

    Raises ConfigError for an unknown command, with the nearest known one.
    """
    if line.rstrip() == "?":
        return Given(HELP, "figures")
    if not line.startswith("/"):
        alone = _ALIASES.get(line.rstrip())
        return None if alone is None else Given(alone)
    name, rest = [*line[1:].strip().split(maxsplit=1), "", ""][:2]
    command = named(name)
    if command is None:
        meant = nearest(name.lower(), NAMES, "/help lists the commands", mark="/")
        raise ConfigError(f"unknown command /{name}; {meant}")
    if command.needs_argument and not rest:
        raise ConfigError(f"/{command.name} needs {command.argument}, as in {command.example}")
    if rest and not (command.argument or command.options):
        raise ConfigError(f"/{command.name} takes no argument, found {rest!r}")
    return Given(command, rest)
