import math
import re
from pathlib import Path

import pytest

from mlx_rev import errors
from mlx_rev.config import SampleConfig
from mlx_rev.errors import ConfigError, RevError
from mlx_rev.formats.detect import built_in_model
from mlx_rev.generate.rerank import ranked
from mlx_rev.generate.teller import Teller, load
from mlx_rev.repl.replies import (
    Grows,
    Offers,
    Pieces,
    Says,
    Shades,
    Tells,
)
from mlx_rev.repl.session import Session
from mlx_rev.text.order import FORWARD, ORDERS, WORD, Order
from tests.conftest import Run
from tests.repl.conftest import last

ENDING = "The dog was happy."


def test_a_story_grows_in_front_of_its_ending(session: Session) -> None:
    settled = ENDING
    for reply in session.respond(ENDING):
        if isinstance(reply, Tells):
            told = reply
            break
        assert isinstance(reply, Grows)
        [story] = reply.stories
        assert story.text == story.generated + ENDING
        assert story.text.endswith(settled)
        # What is being written may still grow at its own end, as "sun" to "sunflower".
        newest = next(filter(None, WORD.pattern.parts(story.generated)), "")
        settled = story.text.removeprefix(newest)
    assert told.story is story
    assert len(told.story.tokens) == len(told.story.surprises) == 12


@pytest.mark.parametrize("order", ORDERS)
def test_every_frame_is_what_its_tokens_say(order: Order, tellers: dict[Order, Teller]) -> None:
    teller = tellers[order]
    session = Session(teller, "tiny", SampleConfig(seed=1))
    *_, told = session.respond("  " + ENDING + " ")
    assert isinstance(told, Tells)
    story = told.story
    expected = teller.tell("  " + ENDING + " ", seed=1)
    assert (story.text, story.tokens) == (expected.text, expected.tokens)


def test_what_is_stopped_is_kept(session: Session) -> None:
    replies = []
    for reply in session.respond(ENDING):
        replies.append(reply)
        if len(replies) == 4:
            session.stop()
    assert isinstance(replies[-1], Tells)
    story = replies[-1].story
    assert story.finished == "stopped"
    assert len(story.tokens) == 3
    assert session.told == [story]
    assert last(session, "/again").story.finished != "stopped"  # type: ignore[union-attr]


def test_again_is_the_next_seed(session: Session) -> None:
    first, second = (last(session, line) for line in (ENDING, "/again"))
    assert isinstance(first, Tells)
    assert isinstance(second, Tells)
    assert (first.story.seed, second.story.seed) == (3, 4)
    assert first.story.text != second.story.text
    session.settings = SampleConfig(max_tokens=12, seed=3)
    assert last(session, ENDING).story.text == first.story.text  # type: ignore[union-attr]


def test_a_candidate_is_picked_by_its_number(session: Session) -> None:
    last(session, ENDING)
    offer = last(session, "/candidates 3")
    assert isinstance(offer, Offers)
    assert offer.pick
    assert [story.seed for story in offer.stories] == [4, 5, 6]
    assert session.prompt == "1-3> "
    with pytest.raises(ConfigError, match="4: expected 1 to 3"):
        last(session, "4")
    assert last(session, "2") == Tells(offer.stories[1])
    assert session.prompt == "ending> "
    assert session.standing == offer.stories[1]
    last(session, "/candidates 2")
    assert isinstance(last(session, "Another ending."), Tells)
    assert session.prompt == "ending> "
    assert [story.seed for story in session.told] == [3, 4, 5, 6, 7, 8, 9]


def test_the_best_candidate_is_marked(session: Session) -> None:
    last(session, ENDING)
    offer = last(session, "/candidates 3")
    assert isinstance(offer, Offers)
    teller = session.teller
    best = ranked(teller.model, teller.codec, offer.stories)[0].story
    assert offer.best is not None
    assert offer.stories[offer.best] is best
    assert last(session, "/candidates 1").best is None  # type: ignore[union-attr]
    # One that was stopped is no whole story to be judged.
    replies = []
    for reply in session.respond("/candidates 2"):
        replies.append(reply)
        session.stop()
    assert isinstance(replies[-1], Offers)
    assert replies[-1].best is None


def test_an_offer_stays_until_one_is_picked_or_a_story_is_begun(session: Session) -> None:
    last(session, ENDING)
    first = session.told[0]
    offer = last(session, "/candidates 2")
    assert isinstance(offer, Offers)
    for line in ("/help", "/history", "/settings", "", "/surprise"):
        list(session.respond(line))
        assert session.prompt == "1-2> "
    for line in ("/agian", "3", "0", "9" * 5000):
        with pytest.raises(ConfigError):
            last(session, line)
        assert session.prompt == "1-2> "
    assert session.standing is first
    assert last(session, "2 ") == Tells(offer.stories[1])
    last(session, "/candidates 2")
    last(session, " 1984")
    assert session.prompt == "ending> "
    assert session.told[-1].prompt == " 1984"


def test_a_forward_model_takes_an_opening(tellers: dict[Order, Teller]) -> None:
    session = Session(tellers[FORWARD], "tiny", SampleConfig(max_tokens=5))
    assert session.prompt == "opening> "
    told = last(session, "Once upon a time")
    assert isinstance(told, Tells)
    assert told.story.text.startswith("Once upon a time")


def test_an_empty_line_takes_the_example_until_a_story_is_told(session: Session) -> None:
    assert WORD.example in session.greeting()
    told = last(session, "")
    assert isinstance(told, Tells)
    assert told.story.prompt == WORD.example
    assert last(session, " ") == Says("Type how a story ends, or /help.")
    assert "1 story is in the /history" in session.greeting()


def test_surprise_raw_and_tokens(session: Session) -> None:
    told = last(session, ENDING)
    assert isinstance(told, Tells)
    shades = last(session, "/surprise")
    assert isinstance(shades, Shades)
    assert "".join(word for word, _ in shades.words) == told.story.text
    assert shades.words[-1] == (ENDING, None)
    assert last(session, "/raw") == Says(WORD.reverse(told.story.text))
    pieces = last(session, f"/tokens {ENDING}")
    assert isinstance(pieces, Pieces)
    assert "".join(piece for piece, _ in pieces.tokens).strip() == WORD.reverse(ENDING)
    pieces = last(session, "/tokens 日")
    assert isinstance(pieces, Pieces)
    assert [piece for piece, _ in pieces.tokens][-3:] == ["<0xE6>", "<0x97>", "<0xA5>"]


def test_scores_are_those_of_the_command(run: Run, tmp_path: Path) -> None:
    text = "Tom went home. “Très bien!” said Mom."  # of more bytes than characters
    path = tmp_path / "story.txt"
    path.write_text(text, encoding="utf-8")
    done = run("score", path, "--model", built_in_model())
    found = re.search(r"(\d+) bytes, (\d+) tokens: ([\d.]+) nats.* ([\d.]+) bits", done.stdout)
    assert found, done.stderr
    assert int(found[1]) == len(text.encode())
    said = last(Session(load(), str(built_in_model())), f"/score {text}")
    assert isinstance(said, Says)
    figures = re.findall(r"[\d.]+", said.text)
    assert figures[::2] == [f"{float(found[4]):.3f}", found[2]]
    assert float(figures[1]) * math.log(2) == pytest.approx(float(found[3]), abs=1e-3)


def test_both_stories_of_a_comparison_are_shown_from_the_start_and_stopped_together(
    session: Session,
) -> None:
    last(session, ENDING)
    shown = []
    for reply in session.respond(f"/compare {built_in_model()}"):
        assert isinstance(reply, Grows | Offers)
        shown.append([len(story.tokens) for story in reply.stories])
        if len(shown) == 4:
            session.stop()
    assert shown == [[0, 0], [1, 0], [2, 0], [3, 0], [3, 0], [3, 0]]
    assert [story.model for story in reply.stories] == ["tiny", str(built_in_model())]
    # The one that was not begun is nothing to choose, or to keep.
    assert isinstance(reply, Offers)
    assert not reply.pick
    assert len(session.told) == 2


def test_both_stories_of_a_comparison_are_kept_and_one_may_be_chosen(session: Session) -> None:
    last(session, ENDING)
    offer = last(session, f"/compare {built_in_model()}")
    assert isinstance(offer, Offers)
    assert session.told[1:] == [*offer.stories]
    assert last(session, "2") == Tells(offer.stories[1])
    with pytest.raises(ConfigError, match=r"this story is by .*stories9m"):
        last(session, "/surprise")


@pytest.mark.parametrize("suffix", ["txt", "md", "html", "svg"])
def test_save(session: Session, tmp_path: Path, suffix: str) -> None:
    told = last(session, ENDING)
    assert isinstance(told, Tells)
    path = tmp_path / f"my story.{suffix}"
    assert last(session, f"/save '{path}'") == Says(f"saved as {path}")
    text = path.read_text(encoding="utf-8")
    if suffix == "txt":
        assert text == told.story.text + "\n"
    assert "happy" in text


def test_save_replaces_nothing_without_force(session: Session, tmp_path: Path) -> None:
    last(session, ENDING)
    path = tmp_path / "story.MD"
    path.write_text("mine")
    with pytest.raises(RevError, match=r"story.MD: exists; .*--force"):
        last(session, f"/save {path}")
    assert path.read_text() == "mine"
    assert last(session, f"/save {path} --force") == Says(f"saved as {path}")
    assert path.read_text().endswith(f"Ending given: {ENDING}\n")


@pytest.mark.parametrize("command", ["/save", "/export --to llama2c", "/export --to run"])
def test_what_the_system_refuses_is_said_of_what_is_in_the_way(
    tmp_path: Path, command: str
) -> None:
    session = Session(load(), str(built_in_model()), SampleConfig(max_tokens=2))
    last(session, ENDING)
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file") as error:
        last(session, f"{command} {tmp_path / 'file' / 'x.md'}")
    assert errors.in_a_line(error.value) == f"{tmp_path / 'file'}: File exists"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("/again", "no story yet; type how one ends"),
        ("/set temprature 1", "/set temprature: did you mean temperature?"),
        ("/set temperature hot", "/set temperature: expected a number, found 'hot'"),
        ("/set top_p 3", "top_p is 3.0, expected over 0 and at most 1"),
        ("/set seed 1.5", "/set seed: expected a whole number, found '1.5'"),
        ("/model nowhere", "nowhere: no such model"),
        ("/export x --to pdf", "/export --to: expected"),
        ("/export x y", "/export: unexpected y"),
        ("/export --force", "/export: needs TARGET"),
        ("/model x --reversal sideways", "/model --reversal: expected word2, word, token, none"),
        ("/model x --tokenizer", "/model --tokenizer: needs FILE"),
        ("/save x.md --story", "/save --story: needs N"),
        ("/set temprature\t1", "/set temprature: did you mean temperature?"),
        ("/export 'x", "/export: a quotation mark is not closed"),
        ("/save x.txt", "no story yet"),
        ("/save x.txt y", "/save: unexpected y; it takes FILE [--story N] [--force]"),
        ("/more", "no story yet; type how one ends"),
        ("/history 2", "no story yet"),
        ("/undo", "nothing to undo"),
        ("/edit x", "/edit takes no argument, found 'x'"),
        ("/save x.md --story 1", "/save: no story 1; the /history has none yet"),
        ("/sessions", "this session is not kept"),
        ("/model ~nobody.here/x", "~nobody.here/x: no such user"),
        ("/hlep", "did you mean /help?"),
    ],
)
def test_what_is_wrong_is_said_and_changes_nothing(
    session: Session, line: str, message: str
) -> None:
    before = session.settings
    with pytest.raises(RevError) as error:
        list(session.respond(line))
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert session.settings == before
