import json
import math
import re
from dataclasses import replace
from pathlib import Path

import pytest

from mlx_rev import errors
from mlx_rev.config import SampleConfig
from mlx_rev.errors import ConfigError, RevError
from mlx_rev.formats.detect import built_in_model
from mlx_rev.generate.rerank import ranked
from mlx_rev.generate.teller import Teller, load
from mlx_rev.repl.names import short_name
from mlx_rev.repl.replies import (
    Converted,
    Grows,
    Lists,
    Offers,
    Pieces,
    Reply,
    Says,
    Shades,
    Tells,
)
from mlx_rev.repl.session import Session
from mlx_rev.text.order import FORWARD, ORDERS, WORD, Order
from tests.conftest import Run

ENDING = "The dog was happy."


def last(session: Session, line: str) -> Reply:
    return list(session.respond(line))[-1]


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


def test_info_has_shape_size_training_and_bits_per_byte() -> None:
    known = last(Session(load(), "stories4m"), "/info")
    assert isinstance(known, Lists)
    rows = dict(known.rows)
    assert rows["parameters"] == "3,935,424"
    assert rows["shape"].startswith("layers 8, width 192, heads 6")
    assert rows["trained for"] == "4,330 steps"
    assert rows["bits per byte"].startswith("0.78")
    assert Path(rows["recipe"]).name == "stories4m.toml"
    assert rows["stories grow"].endswith("with /begin, from both sides")
    assert "from" not in rows


def test_info_of_a_checkpoint_is_that_of_its_run(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    best = tmp_path / "checkpoints" / "best"
    best.mkdir(parents=True)
    (tmp_path / "config.toml").touch()
    events = [
        '{"kind": "eval", "step": 30, "loss": 2.0, "bits_per_byte": 1.25, "best": true}\n',
        '{"kind": "step", "step": 60, "loss": 2.0}\n',
    ]
    (tmp_path / "metrics.jsonl").write_text("".join(events))
    monkeypatch.chdir(best.parent)
    for source in (str(tmp_path), str(best), "best"):
        session.named = replace(session.named, source=source)
        known = last(session, "/info")
        assert isinstance(known, Lists)
        assert known.rows[-3:] == (
            ("trained for", "60 steps"),
            ("bits per byte", "1.2500 on held-out stories, at best"),
            ("recipe", str(tmp_path / "config.toml")),
        )


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
    with pytest.raises(ConfigError, match=r"this story is by .*stories4m"):
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


def test_export_and_talk_to_what_was_exported(tmp_path: Path) -> None:
    source = str(built_in_model())
    progress: list[float] = []
    session = Session(
        load(source), source, SampleConfig(max_tokens=8), lambda _, share: progress.append(share)
    )
    told = last(session, ENDING)
    target = tmp_path / "model.bin"
    list(session.respond(f"/export {target}"))
    assert progress[-1] == pytest.approx(1)
    with pytest.raises(RevError, match="--force"):
        last(session, f"/export {target}")
    list(session.respond(f"/export {target} --force"))
    said = last(session, f"/model {target}")
    assert isinstance(said, Says)
    assert "model.bin writes what led to it" in said.text
    session.settings = SampleConfig(max_tokens=8)
    again = last(session, ENDING)
    assert again.story.text == told.story.text  # type: ignore[union-attr]
    assert json.loads(target.with_name("model.bin.json").read_text())["reversal"] == "word,none"
    compared = last(session, f"/compare {source}")
    assert isinstance(compared, Offers)
    assert compared.stories[0].text == compared.stories[1].text
    assert compared.titles == ("model.bin", short_name(source))


def test_a_run_is_exported_to_be_trained_further(tmp_path: Path) -> None:
    session = Session(load(), str(built_in_model()))
    with pytest.raises(ConfigError, match="does not apply"):
        last(session, f"/export {tmp_path / 'run'} --to run --force")
    done = last(session, f"/export {tmp_path / 'run'} --to run")
    assert isinstance(done, Converted)
    assert f"mlx-rev train --resume {tmp_path / 'run'}" in done.conversion.run
    assert (tmp_path / "run" / "checkpoints" / "latest" / "model.safetensors").exists()
    with pytest.raises(RevError, match="exists"):
        last(session, f"/export {tmp_path / 'run'} --to run")


def test_settings_that_were_not_changed_are_those_of_the_model(session: Session) -> None:
    assert session.teller.settings == SampleConfig()
    last(session, "/set top_k 7")
    last(session, f"/model {built_in_model()}")
    own = session.teller.settings
    assert own.temperature != SampleConfig().temperature
    assert session.settings == replace(own, top_k=7, max_tokens=12, seed=3)
    assert Session(session.teller, "stories4m").settings == own


def test_a_model_that_does_not_say_its_order_can_be_told(session: Session, tmp_path: Path) -> None:
    teller = Session(load(), str(built_in_model()))
    list(teller.respond(f"/export {tmp_path / 'model.bin'}"))
    (tmp_path / "model.bin.json").unlink()
    guessed = last(session, f"/model {tmp_path / 'model.bin'}")
    assert isinstance(guessed, Says)
    assert "writes what comes after it" in guessed.text
    assert "does not say how its text is reversed" in guessed.text
    assert session.prompt == "opening> "
    tokenizer = built_in_model() / "tokenizer.model"
    told = last(session, f"/model {tmp_path / 'model.bin'} --reversal word --tokenizer {tokenizer}")
    assert isinstance(told, Says)
    assert "does not say" not in told.text
    assert session.prompt == "ending> "
    for beside in ("tokenizer.model", "tokenizer.bin"):
        (tmp_path / beside).unlink()
    list(session.respond(f"/export {tmp_path / 'again' / 'model.bin'}"))
    assert (tmp_path / "again" / "tokenizer.model").read_bytes() == tokenizer.read_bytes()


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


def test_a_story_by_the_same_model_in_another_order_has_no_figures_here() -> None:
    session = Session(load(), "stories4m", SampleConfig(max_tokens=4))
    last(session, ENDING)
    last(session, "/model stories4m --reversal token")
    for line in ("/surprise", "/raw"):
        with pytest.raises(ConfigError, match="this story is by stories4m; tell one"):
            last(session, line)
    last(session, ENDING)
    last(session, "/surprise")
    last(session, "/model stories4m")
    with pytest.raises(ConfigError, match="this story is by stories4m --reversal token; tell one"):
        last(session, "/raw")


def test_orders_tell_apart_what_one_model_told() -> None:
    session = Session(load(), "stories4m", SampleConfig(max_tokens=2))
    last(session, ENDING)
    compared = last(session, "/compare stories4m --reversal none")
    assert isinstance(compared, Offers)
    assert compared.titles == ("stories4m (word,none)", "stories4m (none)")
