"""Writing: the story in hand is cut, changed, taken back and grown on."""

import re

import mlx.core as mx
import pytest

from mlx_rev.config import SampleConfig
from mlx_rev.errors import ConfigError
from mlx_rev.generate.alternatives import alternatives
from mlx_rev.generate.story import StopReason, Story
from mlx_rev.generate.teller import Teller
from mlx_rev.repl.replies import Alternatives, Edits, Offers, Says, Tells
from mlx_rev.repl.session import Session
from mlx_rev.repl.transcript import Settled
from mlx_rev.repl.writing import SHOWN_ALTERNATIVES, without_newest_word
from mlx_rev.text.order import FORWARD, ORDERS, WORD, Order
from mlx_rev.text.words import is_word_character
from tests.repl.conftest import last

GIVEN = "Three sat down.\nFour ate."


def told(session: Session, line: str) -> Story:
    reply = last(session, line)
    assert isinstance(reply, Tells)
    assert session.standing is reply.story
    return reply.story


def written(
    generated: str, finished: StopReason = "stopped", *, prompt: str = GIVEN, leftwards: bool = True
) -> Story:
    growth = Settled(generated)
    story = Story(prompt=prompt, spelling=(1,), leftwards=leftwards, growth=growth, model="tiny")
    story.finished = finished
    return story


def in_hand(session: Session, story: Story) -> None:
    list(session.keep([story]))
    session.stand(story)


@pytest.fixture
def forward(tellers: dict[Order, Teller]) -> Session:
    return Session(tellers[FORWARD], "tiny", SampleConfig(max_tokens=3))


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ("/cut", f'"Two!" they said. {GIVEN}'),
        ("/cut 1", f'"Two!" they said. {GIVEN}'),
        ("/cut 2", f"they said. {GIVEN}"),
        ("/cut 3", GIVEN),
        ("/cut 4", "Four ate."),
    ],
)
def test_the_newest_sentences_are_cut(session: Session, line: str, kept: str) -> None:
    in_hand(session, written(' One ran. "Two!" they said. ', "boundary"))
    story = told(session, line)
    assert story.prompt == kept
    assert story.text == story.generated + kept
    assert session.told[-1] is story


def test_of_a_forward_story_the_last_sentences_are_cut(forward: Session) -> None:
    in_hand(forward, written(" Two ate. Three ", prompt="One ran.", leftwards=False))
    assert told(forward, "/cut").prompt == "One ran. Two ate."
    in_hand(forward, written(" Two ate. Three ", prompt="One ran.", leftwards=False))
    assert told(forward, "/cut 2").prompt == "One ran."


def test_what_cannot_be_cut(session: Session) -> None:
    in_hand(session, written("One ran. "))
    for line in ("/cut 3", "/cut 0", "/cut " + "9" * 5000):
        with pytest.raises(ConfigError, match=r"expected 1 to 2$"):
            last(session, line)
    in_hand(session, written("", prompt="Only one."))
    with pytest.raises(ConfigError, match="one sentence only"):
        last(session, "/cut")


@pytest.mark.parametrize(
    ("generated", "leftwards", "left"),
    [
        ("lf of them ran. ", True, "of them ran. GIVEN"),
        (" lf\n\n  of ", True, "of GIVEN"),
        ("half", True, "GIVEN"),
        ("", True, "GIVEN"),
        (" and then ha", False, "GIVEN and then"),
        (" ha", False, "GIVEN"),
    ],
)
def test_the_newest_word_may_be_half_written(generated: str, leftwards: bool, left: str) -> None:
    story = written(generated, prompt="GIVEN", leftwards=leftwards)
    assert without_newest_word(story) == left


def test_more_goes_on_where_a_story_stopped(session: Session) -> None:
    first = told(session, "The dog was happy.")
    assert first.finished == "length"
    second = told(session, "/more")
    assert second.prompt == without_newest_word(first)
    assert second.text.endswith(second.prompt)
    assert second.prompt.endswith("The dog was happy.")
    in_hand(session, written("All. ", "boundary"))
    with pytest.raises(ConfigError, match="complete; /cut drops"):
        last(session, "/more")


def test_what_is_left_of_one_direction_is_nothing_for_the_other(
    session: Session, forward: Session
) -> None:
    commands = "/more", "/cut", "/edit", "/alternatives", "/again", "/candidates 2", "/begin A fox."
    for line in (*commands, "/compare stories9m", "/surprise", "/raw"):
        in_hand(forward, written("One. "))
        with pytest.raises(ConfigError, match=r"grows leftwards, unlike .*; /model changes it"):
            last(forward, line)
        in_hand(session, written(" One.", leftwards=False))
        with pytest.raises(ConfigError, match=r"grows rightwards, unlike .*; /model changes it"):
            last(session, line)
    assert forward.draft is session.draft is None


def test_an_offer_goes_with_the_model_that_made_it(session: Session) -> None:
    in_hand(session, written("One fox saw a fox. "))
    for line in ("/alternatives fox", "/candidates 2"):
        last(session, line)
        assert session.prompt.startswith("1-")
        last(session, "/model stories9m --reversal none")
        assert session.prompt == "opening> "
        in_hand(session, written(" One. "))
        last(session, "/model stories9m")


def test_an_offer_goes_with_a_step_back(session: Session) -> None:
    told(session, "He ran.")
    told(session, "She sat.")
    last(session, "/candidates 2")
    told(session, "/undo")
    assert session.prompt == "ending> "


def test_what_is_said_to_go_on_with_a_story_does(session: Session) -> None:
    for finished, ways in (("stopped", "/more, /edit and /cut"), ("boundary", "/edit and /cut")):
        in_hand(session, written("One ran. ", finished))
        said = last(session, "/model stories9m")
        assert isinstance(said, Says)
        assert f"in the /history; {ways} go on with the one in hand." in said.text
        for line in re.findall(r"/\w+", ways):
            assert last(session, line)
            session.draft = None
            session.step_back() if line != "/edit" else None
    said = last(session, "/model stories9m --reversal none")
    assert isinstance(said, Says)
    assert said.text.endswith("in the /history.")


def test_undo_goes_back_through_all_that_was_in_hand(session: Session) -> None:
    first, second = told(session, "He ran."), told(session, "/again")
    offer = last(session, "/candidates 2")
    assert isinstance(offer, Offers)
    third = told(session, "1")
    assert told(session, "/undo") is second
    assert told(session, "/undo") is first
    with pytest.raises(ConfigError, match="nothing to undo"):
        last(session, "/undo")
    assert session.standing is first
    assert session.told == [first, second, *offer.stories]
    assert told(session, "/history 3") is third
    assert told(session, "/undo") is first


@pytest.mark.parametrize("text", ["A new end.", "/quit", "2", " two\nlines ", "exit"])
def test_a_changed_story_is_the_ending_of_the_next(session: Session, text: str) -> None:
    story = told(session, "He ran.")
    assert last(session, "/edit") == Edits(story.text)
    assert (session.prompt, session.draft) == ("edit> ", Edits(story.text))
    changed = told(session, text)
    assert changed.prompt == text
    assert changed.text.endswith(text)
    assert (session.prompt, session.draft) == ("ending> ", None)


def test_an_emptied_story_stays_as_it_was(session: Session) -> None:
    story = told(session, "He ran.\n")
    assert last(session, "/edit --editor") == Edits(story.text, in_editor=True)
    # Who leaves the editor without a change has changed their mind.
    assert "as it was" in str(last(session, story.text))
    assert session.standing is story
    last(session, "/edit --editor")
    assert "as it was" in str(last(session, story.text.removesuffix("\n")))
    last(session, "/edit --editor")
    assert isinstance(last(session, " "), Says)
    assert (session.standing, session.draft, len(session.told)) == (story, None, 1)


@pytest.mark.parametrize("order", ORDERS)
def test_alternatives_are_what_the_model_would_write(
    order: Order, tellers: dict[Order, Teller]
) -> None:
    teller = tellers[order]
    beside = "the dog was happy"
    found = alternatives(teller, beside, 5)
    assert 2 <= len(found) <= 5
    chances = [each.probability for each in found]
    assert chances == sorted(chances, reverse=True)
    assert 0 < sum(chances) <= 1 + 1e-9
    likeliest = teller.tell(beside, temperature=0, max_tokens=1)
    # What may not be written next to a word is left out, so the others have more of the whole.
    assert chances[0] >= 2 ** -likeliest.surprises[0] * (1 - 1e-5)
    for each in found:
        joined = each.generated + beside if order.grows_leftwards else beside + each.generated
        assert each.text == joined
        assert each.generated.strip() or each.generated == ""
        if order is not FORWARD and each.generated:
            # "the" is a word of its own there, too.
            assert not is_word_character(each.generated[-1])
    if order is FORWARD:
        assert chances[0] == pytest.approx(2 ** -likeliest.surprises[0], rel=0.05)


def test_a_word_is_offered_whole(
    tellers: dict[Order, Teller], monkeypatch: pytest.MonkeyPatch
) -> None:
    teller = tellers[WORD]
    pieces = teller.codec.tokenizer.piece_bytes
    letters = [token for token, piece in enumerate(pieces) if piece in (b"h", b"e")]
    begins = pieces.index(b" t")
    script = iter([begins, *letters, begins])

    def scripted(*_: object) -> mx.array:
        return mx.where(mx.arange(len(pieces)) == next(script), 9.0, 0.0)[None]

    monkeypatch.setattr(type(teller.model), "next_logits", staticmethod(scripted))
    [found] = alternatives(teller, "dog ran.", 1)
    spelled = "t" + "".join(pieces[letter].decode() for letter in letters)
    assert (found.generated, found.text) == (f"{spelled} ", f"{spelled} dog ran.")
    assert not list(script)


def test_an_alternative_is_chosen_and_grown_on_from(session: Session) -> None:
    in_hand(session, written("One fox saw a fox. "))
    reply = last(session, "/alternatives fox")
    assert isinstance(reply, Alternatives)
    assert (reply.chosen, reply.leftwards) == ("fox", True)
    assert reply.beside == f"saw a fox. {GIVEN}"
    assert session.prompt == f"1-{len(reply.words)}> "
    assert len(reply.words) <= SHOWN_ALTERNATIVES
    number = next(n for n, (word, _) in enumerate(reply.words, 1) if word)
    story = told(session, str(number))
    expected = alternatives(session.teller, reply.beside, number)[-1].text
    assert story.prompt == expected
    assert session.prompt == "ending> "


@pytest.mark.parametrize(
    ("line", "beside"),
    [
        ("/alternatives", f"fox saw a Fox. {GIVEN}"),
        ("/alternatives fox 1", f"saw a Fox. {GIVEN}"),
        ("/alternatives FOX 2", f". {GIVEN}"),
        ("/alternatives a Fox.", GIVEN),
        ("/alternatives ate", "."),
        ("/alternatives Four ate.", ""),
    ],
)
def test_where_a_word_stands(
    session: Session, line: str, beside: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlx_rev.repl.writing.SHOWN_ALTERNATIVES", 1)
    in_hand(session, written("One fox saw a Fox. "))
    reply = last(session, line)
    assert isinstance(reply, Alternatives)
    assert reply.beside == beside


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("/alternatives cat", "the story has no word 'cat'"),
        ("/alternatives ox", "the story has no word 'ox'"),
        ("/alternatives fox 2", "'fox' is there only once"),
        ("/alternatives fox\t0", "'fox' is there only once"),
        ("/alternatives e 3", "'e' is there only 2 times"),
    ],
)
def test_a_word_that_does_not_stand_there(session: Session, line: str, message: str) -> None:
    in_hand(session, written("One fox ran. e e. "))
    with pytest.raises(ConfigError, match=re.escape(message)):
        last(session, line)


def test_a_story_may_have_its_other_end_at_a_word(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    logits = session.teller.model.next_logits

    def ending(*arguments: object) -> object:
        likely = logits(*arguments)  # type: ignore[arg-type]
        likely[:, 1] = 100.0
        return likely

    monkeypatch.setattr(type(session.teller.model), "next_logits", staticmethod(ending))
    in_hand(session, written("One fox ran. "))
    reply = last(session, "/alternatives fox")
    assert isinstance(reply, Alternatives)
    assert reply.words[0][0] == ""
    story = told(session, "1")
    assert (story.text, story.finished) == (f"ran. {GIVEN}", "boundary")
    assert session.told[-1] is story
