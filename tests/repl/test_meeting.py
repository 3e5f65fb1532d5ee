"""A beginning for the story in hand: what is between is written from both sides."""

import re

import pytest

from mlx_rev.errors import ConfigError, RevError
from mlx_rev.generate.teller import Teller
from mlx_rev.repl.meeting import _parts
from mlx_rev.repl.replies import Reply, Says, Tells
from mlx_rev.repl.session import Session
from mlx_rev.text.order import FORWARD, Order

BEGINNING, ENDING = "There was 'a fox'. It ran.", " The dog was happy."


def last(session: Session, line: str) -> Reply:
    return list(session.respond(line))[-1]


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
        monkeypatch.setattr(Teller, "opposite", tellers[FORWARD])
    shares: list[float] = []
    session.progress = lambda what, share: shares.append(share)
    list(session.respond(ENDING))
    line = f"/begin --judge 'a model' {BEGINNING}" if named else f"/begin {BEGINNING}"
    *_, said, told = session.respond(line)
    assert isinstance(said, Says)
    assert re.search(r"\d\.\d\d bits per byte", said.text)
    assert isinstance(told, Tells)
    story = told.story
    assert story.text.startswith(BEGINNING)
    assert story.text.endswith(ENDING)
    assert (story.prompt, story.finished, story.leftwards) == (ENDING, "boundary", True)
    assert session.told[-1] is story is session.standing
    assert asked == (["a model"] if named else [])
    assert shares[-1] == 1
    assert session.settings.seed >= story.seed + 4
    assert last(session, "/again").story.prompt == ENDING  # type: ignore[union-attr]
    last(session, "/undo")
    with pytest.raises(ConfigError, match="not written word by word"):
        last(session, "/surprise")


def test_a_model_that_reads_forwards_is_needed(session: Session) -> None:
    with pytest.raises(ConfigError, match="no story yet"):
        last(session, f"/begin {BEGINNING}")
    list(session.respond(ENDING))
    for line, message in (
        (f"/begin {BEGINNING}", "tiny does not read forwards; name a model that does"),
        ("/begin --judge nowhere One day", "nowhere: no such model"),
        ("/begin --judge model", "/begin --judge: needs MODEL TEXT"),
        ("/begin --judge 'model One day", "a quotation mark is not closed"),
        ("/begin --judge stories1m One day", "reads forwards"),
    ):
        with pytest.raises(RevError, match=re.escape(message)):
            last(session, line)
    assert len(session.told) == 1


def test_a_beginning_is_read_as_it_stands() -> None:
    for beginning in ('Don\'t "go"', "--force it", "a\\ b 'c"):
        assert _parts(beginning) == ("", beginning)
        assert _parts(f"--judge m.bin {beginning}") == ("m.bin", beginning)
        assert _parts(f"--judge 'my m.bin'  {beginning}") == ("my m.bin", beginning)
