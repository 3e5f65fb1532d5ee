"""A beginning for the story in hand: what is between is written from both sides."""

import re
from copy import copy
from itertools import pairwise

import pytest

from mlx_rev.config import SampleConfig
from mlx_rev.errors import ConfigError, RevError
from mlx_rev.generate.story import Story
from mlx_rev.generate.teller import Teller
from mlx_rev.repl.meeting import _parts, met
from mlx_rev.repl.replies import Alternatives, Meets, Met, Says, Tells
from mlx_rev.repl.session import Session
from mlx_rev.repl.transcript import Settled
from mlx_rev.text.order import FORWARD, Order
from tests.repl.conftest import last

BEGINNING, ENDING = "There was 'a fox'. It ran.", " The dog was happy."


def between(written: str) -> Story:
    """A story that stands between the two."""
    growth = Settled(BEGINNING + written)
    story = Story(prompt=ENDING, beginning=BEGINNING, spelling=(1,), leftwards=True, growth=growth)
    story.finished, story.model = "boundary", "tiny"
    return story


def in_hand(session: Session, story: Story) -> None:
    list(session.keep([story]))
    session.stand(story)


@pytest.mark.parametrize("named", [False, True])
def test_both_sides_are_kept_as_they_stand(
    named: bool, session: Session, tellers: dict[Order, Teller], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def loading(model: str) -> Teller:
        asked.append(model)
        return tellers[FORWARD]

    if named:
        monkeypatch.setattr("mlx_rev.repl.meeting.load", loading)
    else:
        monkeypatch.setattr(session.teller, "opposite", tellers[FORWARD])
    list(session.respond(ENDING))
    line = f"/begin --judge 'a model' {BEGINNING}" if named else f"/begin {BEGINNING}"
    frames, replies, stages = [], [], []
    for reply in session.respond(line):
        replies.append(reply)
        if isinstance(reply, Meets):
            stages.append(reply.seam)
            frames.append((reply.chosen, *(story.text for story in reply.stories)))
    # While it stands still, what is said moves.
    rounds = r", round [123] of 3"
    assert re.fullmatch(rf"writing both sides{rounds}", stages[0])
    judging = [stage for stage in stages if "judging" in stage]
    assert all(re.fullmatch(rf"judging where they meet, \d+%{rounds}", each) for each in judging)
    assert len({*judging}) > 4
    said, told = replies[-2:]
    assert isinstance(said, Says)
    assert re.search(r"\d\.\d\d bits per byte", said.text)
    assert isinstance(told, Tells)
    story = told.story
    assert story.text.startswith(BEGINNING)
    assert story.text.endswith(ENDING)
    assert (story.prompt, story.finished, story.leftwards) == (ENDING, "boundary", True)
    assert session.told[-1] is story is session.standing
    assert asked == (["a model"] if named else [])
    assert [chosen for chosen, _, _ in frames] == sorted(chosen for chosen, _, _ in frames)
    for _, left, right in frames:
        assert left.startswith(BEGINNING)
        assert right.endswith(ENDING)
    chosen = [(left, right) for chosen, left, right in frames if chosen]
    assert len(chosen) > 1
    for before, after in pairwise(chosen):
        assert after[0].startswith(before[0])
        assert after[1].endswith(before[1])
    assert "".join("".join(chosen[-1]).split()) == "".join(story.text.split())
    assert session.settings.seed >= story.seed + 4
    again = last(session, "/again")
    assert isinstance(again, Tells)
    assert again.story.beginning == BEGINNING
    assert again.story.prompt == ENDING
    last(session, "/undo")
    with pytest.raises(ConfigError, match=r"no figures are kept of .*/begin"):
        last(session, "/surprise")


@pytest.mark.parametrize(
    ("line", "ending"),
    [
        ("/cut", f"She sat. He ate.{ENDING}"),
        ("/cut 2", f"He ate.{ENDING}"),
        ("/cut 3", ENDING),
        ("/alternatives", None),
        ("/alternatives ate", None),
    ],
)
def test_what_is_written_anew_keeps_a_beginning_that_was_given(
    session: Session,
    tellers: dict[Order, Teller],
    monkeypatch: pytest.MonkeyPatch,
    line: str,
    ending: str | None,
) -> None:
    monkeypatch.setattr(session.teller, "opposite", tellers[FORWARD])
    in_hand(session, between(" They played. She sat. He ate."))
    reply = last(session, line)
    if ending is None:
        assert isinstance(reply, Alternatives)
        assert reply.chosen == ("ate" if "ate" in line else "They")
        assert all(word for word, _ in reply.words)
        reply = last(session, "1")
    assert isinstance(reply, Tells)
    story = reply.story
    assert story.beginning == BEGINNING
    assert story.text.startswith(BEGINNING)
    assert story.text.endswith(ENDING)
    assert [part for part, given in story.parts if given] == [BEGINNING, story.prompt]
    assert ending is None or story.prompt == ending


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("/cut 4", "/cut 4: expected 1 to 3"),
        ("/cut", "/cut: tiny does not read forwards, from a beginning on; name a"),
        ("/again", "/again: tiny does not read forwards"),
        ("/alternatives fox", "no word 'fox', not counting the beginning, which stays"),
        ("/alternatives ate 2", "is there only once, not counting the beginning"),
    ],
)
def test_a_beginning_that_was_given_is_never_dropped(
    session: Session, line: str, message: str
) -> None:
    in_hand(session, between(" They played. She sat. He ate."))
    with pytest.raises(ConfigError, match=re.escape(message)):
        last(session, line)
    assert session.standing is session.told[-1]
    assert len(session.told) == 1


def test_words_are_sought_after_the_beginning_in_any_case(session: Session) -> None:
    in_hand(session, between(" A dog sat."))
    reply = last(session, "/alternatives a")
    assert isinstance(reply, Alternatives)
    assert (reply.chosen, reply.beside) == ("A", f"dog sat.{ENDING}")


def test_only_a_meeting_that_begins_changes_who_reads_forwards(
    session: Session, tellers: dict[Order, Teller], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (copy(tellers[FORWARD]) for _ in range(2))
    monkeypatch.setattr("mlx_rev.repl.meeting.load", lambda model: second)
    in_hand(session, between(" They played."))
    session.forward = first
    for line in ("/begin \udc80", "/begin --judge model \udc80"):
        with pytest.raises(RevError):
            last(session, line)
        assert session.forward is first
    assert isinstance(next(session.respond(f"/begin {BEGINNING}")), Meets)
    assert session.forward is first
    assert isinstance(next(session.respond(f"/begin --judge model {BEGINNING}")), Meets)
    assert session.forward is second
    # A model that reads in both directions needs nobody else.
    monkeypatch.setattr(session.teller, "opposite", tellers[FORWARD])
    assert isinstance(next(session.respond(f"/begin {BEGINNING}")), Meets)
    assert session.forward is None


def test_where_nothing_is_between_there_is_nothing_to_cut(session: Session) -> None:
    in_hand(session, between(""))
    with pytest.raises(ConfigError, match="nothing stands between"):
        last(session, "/cut")


def test_a_byte_order_mark_is_none_of_the_ending(
    session: Session, tellers: dict[Order, Teller]
) -> None:
    *_, reply = met(session, tellers[FORWARD], BEGINNING, "\ufeff" + ENDING)
    assert isinstance(reply, Met)
    assert reply.story.prompt == ENDING
    assert reply.story.text.endswith(ENDING)
    assert reply.story.text.count(ENDING) == 1


def test_stopped_while_it_tries_nothing_changes(
    session: Session, tellers: dict[Order, Teller], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session.teller, "opposite", tellers[FORWARD])
    list(session.respond(ENDING))
    story, replies = session.standing, []
    for reply in session.respond(f"/begin {BEGINNING}"):
        replies.append(reply)
        session.stop()
    assert len(replies) == 2
    assert isinstance(replies[1], Says)
    assert session.standing is story
    assert len(session.told) == 1


def test_a_model_that_reads_forwards_is_needed(session: Session) -> None:
    with pytest.raises(ConfigError, match="no story yet"):
        last(session, f"/begin {BEGINNING}")
    list(session.respond(ENDING))
    for line, message in (
        (f"/begin {BEGINNING}", "tiny does not read forwards, from a beginning on; name a"),
        ("/begin --judge nowhere One day", "nowhere: no such model"),
        ("/begin --judge model", "/begin --judge: needs MODEL TEXT"),
        ("/begin --judge", "/begin --judge: needs MODEL TEXT"),
        ("/begin --judge=model One day", "/begin --judge: needs MODEL TEXT"),
        ("/begin --judge 'model One day", "a quotation mark is not closed"),
    ):
        with pytest.raises(RevError, match=re.escape(message)):
            last(session, line)
    assert len(session.told) == 1


def test_a_model_that_reads_backwards_is_needed(tellers: dict[Order, Teller]) -> None:
    session = Session(tellers[FORWARD], "tiny", SampleConfig(max_tokens=3))
    list(session.respond(BEGINNING))
    with pytest.raises(ConfigError, match=r"tiny does not read backwards.*; /model takes one"):
        last(session, f"/begin {BEGINNING}")


def test_a_beginning_is_read_as_it_stands() -> None:
    for beginning in ('Don\'t "go"', "--judges sat", "--force it", "a\\ b 'c"):
        assert _parts(beginning) == ("", beginning)
        assert _parts(f"--judge\tm.bin {beginning}") == ("m.bin", beginning)
        assert _parts(f"--judge 'my m.bin'  {beginning}") == ("my m.bin", beginning)
