"""Whole conversations, as they are shown."""

import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from mlx_rev.errors import RevError
from mlx_rev.generate.story import Story
from mlx_rev.generate.teller import Teller, load
from mlx_rev.repl.commands import COMMANDS
from mlx_rev.repl.replies import (
    Grows,
    Leaves,
    Tells,
)
from mlx_rev.repl.session import Session
from mlx_rev.repl.view import View
from mlx_rev.repl.writing import without_newest_word
from mlx_rev.text.order import WORD, Order
from mlx_rev.ui.console import THEME

TRANSCRIPT = """\
> /set temperature 0
temperature is 0.0
> /set max_tokens 4
max_tokens is 4
> /settings
temperature         0.0
top_k               0
top_p               0.95
min_p               0.0
repetition_penalty  1.0
max_tokens          4
seed                3
> /history
! no story yet; type how one ends
> They went home.
{story}
> /history
*  1  seed 3  {short}
> /candidates 99
! /candidates 99: expected 1 to 16
> \x20
Type how a story ends, or /help.
> /candidates four
! /candidates four: expected a number, as in /candidates 6
> /xyzzy
! unknown command /xyzzy; /help lists the commands
> /quit
"""


WRITING = """\
> /set temperature 0
temperature is 0.0
> /set max_tokens 4
max_tokens is 4
> One ran. Two sat.
{one}
> /edit
Change the story below; Enter grows it on from there, Ctrl-C leaves it as it is.
> /Three ran. They went home.
{three}
> /more
{more}
> /undo
{three}
> /undo
{one}
> /undo
! nothing to undo: no other story was in hand before
> /edit
Change the story below; Enter grows it on from there, Ctrl-C leaves it as it is.
>
Nothing was changed; the story is as it was.
> /history
*  1  seed 3  {one_short}
   2  seed 4  {three_short}
   3  seed 5  {more_short}
> /history 2
{three}
> /history 4
! /history: no story 4; the /history has 1 to 3
> /save {folder}/it.txt --story 1
saved as {folder}/it.txt
> /save {folder}/it.txt
! {folder}/it.txt: exists; choose another name, or replace it with --force
> /alternatives xyzzy
! /alternatives: the story has no word 'xyzzy'; name one as it stands there
> /help undo
/undo

{undo}

Example: /undo
> /undoo
! unknown command /undoo; did you mean /undo?
> bye
{bye}
> exit
"""


LOOKING = """\
> /set temperature 0
temperature is 0.0
> /set max_tokens 6
max_tokens is 6
> Tom ran. They went home.
{story}
> /again
{story}
> /raw
{raw}
> /surprise
<lines>Tom ran. They went home.

in brackets: bits, where there are 1 or more
> /score Tom ran.
<any> bits per byte, <any> bits per token, <any> tokens
> /tokens Tom
⟨␣Tom⟩<any>
> /cut 1
<lines>They went home.
> /undo
{story}
> /candidates 2
1<any>: <any> bits per token, seed <any>
{story}

2<any>: <any> bits per token, seed <any>
{story}
type a number to go on with one; all are in the /history
> /surprise
<lines>
> 3
! 3: expected 1 to 2; put a space in front of a story's end that is a number
> 2
{story}
> /compare stories9m
stories9m: <any> bits per token, seed <any>
{story}

stories9m: <any> bits per token, seed <any>
{story}
type a number to go on with one; all are in the /history
> 1
{story}
> /begin A fox ran.
The <any> bits per byte<any>
A fox ran.<lines>Tom ran. They went home.
> /surprise
! no figures are kept of a story that was written from both sides, as by /begin
> /info
model          stories9m
stories grow   leftwards from an ending; with /begin, from both sides
reversal       <any>
parameters     <any>
shape          layers <any>
vocabulary     <any> pieces
context        <any> tokens
trained for    <any> steps
bits per byte  <any> on held-out stories, at best
recipe         <any>.toml
/help figures says what the figures mean.
> /export {folder}/m.bin
<lines> m.bin <lines> parameters
run it: ./run {folder}/m.bin<any>
> /export {folder}/m.bin
! {folder}/m.bin: exists<any>
> /model {folder}/m.bin
Type how a story ends, press Enter, and m.bin writes what led to it.
<any> stories are in the /history; /edit and /cut go on with the one in hand.
> /sessions
! /sessions: this session is not kept, and none before it is looked for
> /help sesions
! /help sesions: did you mean sessions?
> /quit
"""
"""<any> is anything in a line, <lines> any number of lines."""


def conversation(session: Session, expected: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """What is shown where someone types the lines of a transcript that begin with >."""
    output = io.StringIO()
    console = Console(file=output, width=400, theme=THEME, no_color=True, highlight=False)
    monkeypatch.setattr("mlx_rev.repl.view.READING_COLUMNS", 400)
    view = View(console)
    for line in expected.split("\n"):
        if not line.startswith(">"):
            continue
        output.write(line + "\n")
        try:
            for reply in session.respond(line[2:]):
                if isinstance(reply, Tells):
                    output.write(reply.story.text + "\n")
                elif not isinstance(reply, Grows | Leaves):
                    view.show(reply)
        except RevError as error:
            output.write("! ")
            view.error(str(error))
    return "\n".join(line.rstrip() for line in output.getvalue().split("\n"))


def as_written(transcript: str, **parts: object) -> str:
    return "\n".join(line.rstrip() for line in transcript.format(**parts).split("\n"))


def flat(text: str) -> str:
    return " ".join(text.split())


def test_a_whole_conversation(
    session: Session, tellers: dict[Order, Teller], monkeypatch: pytest.MonkeyPatch
) -> None:
    story = tellers[WORD].tell("They went home.", temperature=0.0, max_tokens=4, seed=3)
    expected = as_written(TRANSCRIPT, story=story.text, short=flat(story.text))
    assert conversation(session, expected, monkeypatch) == expected


def test_a_conversation_of_someone_who_writes(
    session: Session,
    tellers: dict[Order, Teller],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def told(ending: str) -> Story:
        return tellers[WORD].tell(ending, temperature=0.0, max_tokens=4)

    three = told("/Three ran. They went home.")
    parts = {
        "one": told("One ran. Two sat."),
        "three": three,
        "more": told(without_newest_word(three)),
        "bye": told("bye"),
    }
    parts |= {f"{name}_short": flat(story.text) for name, story in parts.items()}
    undo = COMMANDS["undo"].explanation
    expected = as_written(WRITING, folder=tmp_path, undo=undo, **parts)
    assert conversation(session, expected, monkeypatch) == expected
    assert (tmp_path / "it.txt").read_text() == f"{parts['one']}\n"


def test_a_conversation_of_someone_who_looks_around(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = Session(load(), "stories9m")
    story = load().tell("Tom ran. They went home.", temperature=0.0, max_tokens=6).text
    raw = session.teller.codec.order.reverse(story)
    expected = as_written(LOOKING, folder=tmp_path, story=story, raw=raw)
    written = conversation(session, expected, monkeypatch)
    wanted = re.escape(expected).replace("<any>", "[^\n]*").replace("<lines>", "(?:.|\n)*?")
    assert re.fullmatch(wanted, written), written


def test_every_command_is_in_a_conversation() -> None:
    typed = set(re.findall(r"^> /(\w+)", f"{TRANSCRIPT}{WRITING}{LOOKING}", re.MULTILINE))
    assert typed >= {*COMMANDS}
