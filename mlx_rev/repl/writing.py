"""Commands that change the story in hand: what stands of it is the prompt of the next one."""

import re
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from mlx_rev.errors import ConfigError
from mlx_rev.generate.alternatives import Alternative, alternatives
from mlx_rev.generate.story import Story
from mlx_rev.repl.command import Command, Given, Option
from mlx_rev.repl.meeting import told_between
from mlx_rev.repl.replies import Alternatives, Edits, Reply, Tells
from mlx_rev.text.sentences import sentence_starts

if TYPE_CHECKING:
    from mlx_rev.repl.session import Session

SHOWN_ALTERNATIVES = 8


def _more(session: "Session", given: Given) -> Iterator[Reply]:
    story = session.to_write_with()
    if story.finished == "boundary":
        raise ConfigError(
            "this story is complete; /cut drops its newest sentence and grows it again, "
            "/again tells another"
        )
    return session.tell(without_newest_word(story))


def without_newest_word(story: Story) -> str:
    """What stands of a story that was interrupted: its newest word may be half written."""
    if story.leftwards:
        return re.sub(r"^\s*\S+\s*", "", story.generated) + story.prompt
    return story.prompt + re.sub(r"\s*\S+\s*$", "", story.generated)


def _cut(session: "Session", given: Given) -> Iterator[Reply]:
    story = session.to_write_with()
    if story.beginning:
        return _cut_between(session, story, given)
    text = story.text.lstrip() if story.leftwards else story.text.rstrip()
    places = sentence_starts(text)
    if len(places) == 1:
        raise ConfigError("the story has one sentence only; /edit changes it")
    count = given.number(1, 1, len(places) - 1)
    kept = text[places[count] :] if story.leftwards else text[: places[-count]].rstrip()
    return session.tell(kept)


def _cut_between(session: "Session", story: Story, given: Given) -> Iterator[Reply]:
    """What was written next to a beginning that was given is dropped, the beginning stays."""
    text, first = story.text, len(story.beginning)
    last = len(text) - len(story.prompt)
    places = [at for at in (*sentence_starts(text), last) if first < at <= last]
    places = [at for at in dict.fromkeys(places) if text[first:at].strip()]
    if not places:
        raise ConfigError("nothing stands between the beginning and the ending; /begin writes anew")
    kept = text[places[given.number(1, 1, len(places)) - 1] :]
    return told_between(session, "cut", story.beginning, kept)


def _undo(session: "Session", given: Given) -> Iterator[Reply]:
    yield Tells(session.step_back())


def _edit(session: "Session", given: Given) -> Iterator[Reply]:
    given.check_no_argument()
    story = session.to_write_with()
    in_editor = _EDITOR.name in given.options
    session.draft = Edits(story.text, in_editor)
    yield session.draft


def _alternatives(session: "Session", given: Given) -> Iterator[Reply]:
    story = session.to_write_with()
    start, end = _place(story, given.rest)
    text = story.text
    beside = text[end:].lstrip() if story.leftwards else text[:start].rstrip()
    found = alternatives(session.teller, beside, SHOWN_ALTERNATIVES)
    if story.beginning:  # It is the other end.
        found = [each for each in found if each.generated]
    if not found:
        raise ConfigError(f"/alternatives: the model has no word for {text[start:end]!r}")

    def chosen(alternative: Alternative) -> Iterator[Reply]:
        if story.beginning:
            return told_between(session, "alternatives", story.beginning, alternative.text)
        if alternative.generated:
            return session.tell(alternative.text)
        [ended] = session.begun([beside])
        ended.stop("boundary")
        return _kept(session, ended)

    session.offer([partial(chosen, each) for each in found])
    words = tuple((each.generated.strip(), each.probability) for each in found)
    yield Alternatives(text[start:end], words, beside, story.leftwards)


def _kept(session: "Session", story: Story) -> Iterator[Reply]:
    yield from session.keep([story])
    yield from session.take_up(story)


def _place(story: Story, asked: str) -> tuple[int, int]:
    """Where a word stands in a story, a beginning that was given left out: the newest one, or the
    one that is named, with the number of the occurrence, in reading order, behind it. Raises
    ConfigError where there is none."""
    numbered = re.fullmatch(r"(.*\S)\s+([0-9]{1,8})", asked, re.DOTALL)
    word, number = numbered.groups() if numbered else (asked, "")
    pattern = rf"(?<!\w){re.escape(word)}(?!\w)" if word else r"(?<!\w)\w[\w'’]*"
    start = len(story.beginning)
    exact, any_case = re.compile(pattern), re.compile(pattern, re.IGNORECASE)
    found = list(exact.finditer(story.text, start)) or list(any_case.finditer(story.text, start))
    besides = ", not counting the beginning, which stays as you gave it" if start else ""
    if not found:
        what = f"the story has no word {word!r}" if word else "the story has no word"
        raise ConfigError(f"/alternatives: {what}{besides}; name one as it stands there")
    if number and not 1 <= int(number) <= len(found):
        times = "once" if len(found) == 1 else f"{len(found)} times"
        raise ConfigError(f"/alternatives {asked}: {word!r} is there only {times}{besides}")
    newest = 0 if story.leftwards else -1
    return found[int(number) - 1 if number else newest].span()


MORE = Command(
    name="more",
    summary="grow on where the story stopped",
    explanation="Goes on with a story that was stopped or did not fit. Its newest word may be half "
    "written, so it is written again. Of a long story the model sees only the newest part, half of "
    "what its context holds.",
    example="/more",
    run=_more,
)
CUT = Command(
    name="cut",
    argument="[N]",
    summary="drop the newest sentences and grow again",
    explanation="Drops the N sentences that were written last, 1 unless you say how many, and "
    "grows the story again from what is left. A beginning that you gave stays: the sentences next "
    "to it are dropped.",
    example="/cut 2",
    run=_cut,
)
_EDITOR = Option("--editor")
EDIT = Command(
    name="edit",
    summary="change the story by hand and grow on from there",
    explanation="Puts the story into the input line. Change it and press Enter, and it grows on "
    "from what you left there, which is now the ending (or, with a forward model, the opening). "
    "Alt-Enter starts a new line. With --editor the story opens in the program that $VISUAL or "
    "$EDITOR names; leave it unchanged, and nothing happens.",
    example="/edit --editor",
    options=(_EDITOR,),
    run=_edit,
)
UNDO = Command(
    name="undo",
    summary="go back to the story before",
    explanation="Goes back to the story that was in hand before. Nothing is lost: both stay in the "
    "/history.",
    example="/undo",
    run=_undo,
)
ALTERNATIVES = Command(
    name="alternatives",
    argument="[WORD [N]]",
    summary="what else could stand in place of a word; choose one",
    explanation="Shows what the model would most likely have written in place of WORD, or of the "
    "newest word, each with its probability. Type a number to put that word there and grow on from "
    "it; what was written after it is dropped. If the story has WORD several times, the newest is "
    "meant, or the Nth in reading order. A beginning that you gave stays: its words do not count.",
    example="/alternatives dog 2",
    run=_alternatives,
)
