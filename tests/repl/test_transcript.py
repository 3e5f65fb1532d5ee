"""Sessions are kept unasked, for their person alone, and taken up again."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_rev.cli.flags import parse
from mlx_rev.cli.repl import ReplCommand, _last_session, _session
from mlx_rev.config import SampleConfig
from mlx_rev.errors import ConfigError
from mlx_rev.formats.detect import built_in_model
from mlx_rev.generate.story import Story
from mlx_rev.repl import transcript
from mlx_rev.repl.replies import Lists, Offers, Says, Shades, Tells
from mlx_rev.repl.session import Session
from mlx_rev.repl.transcript import Kept, Settled, Transcript, sessions
from mlx_rev.repl.view import View
from mlx_rev.ui.console import make_console

ENDING = 'Sie sagte: "Grüße!"\n日本 '


def same(one: Story, other: Story) -> bool:
    names = ["prompt", "beginning", "text", "leftwards", "seed", "settings", "finished", "tokens"]
    names += ["model", "reversal", "tokenizer"]
    return all(getattr(one, name) == getattr(other, name) for name in names)


@pytest.fixture
def kept(session: Session, tmp_path: Path) -> Session:
    session.transcript = Transcript(tmp_path / "state" / "sessions")
    return session


def one(folder: Path) -> Kept:
    [found] = sessions(folder)
    return found


def opened(flags: list[str], last: Kept | None = None) -> Session:
    command = parse(ReplCommand, flags, "repl")
    return _session(command, flags, "repl", View(make_console()), last)


def made(generated: str = "x ") -> Story:
    story = Story(prompt="y", spelling=(1,), leftwards=True, growth=Settled(generated))
    story.stop("boundary")
    return story


def test_every_story_is_kept_as_it_is_for_its_person_alone(kept: Session) -> None:
    assert kept.transcript is not None
    folder = kept.transcript.folder
    list(kept.respond("/settings"))
    assert not folder.exists()
    list(kept.respond(ENDING))
    list(kept.respond("/candidates 2"))
    list(kept.respond("/cut"))
    found = one(folder)
    assert found.path.stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700
    between = made("A fox. She sat. ")
    between.beginning, between.reversal, between.settings = "A fox. ", "token", SampleConfig()
    list(kept.keep([between]))
    read = found.stories()
    assert len(read) == len(kept.told) == 5
    assert all(map(same, read, kept.told))
    surprises = [bits for story in kept.told for bits in story.surprises]
    assert [b for story in read for b in story.surprises] == pytest.approx(surprises, abs=1e-3)


def test_a_session_is_taken_up_again(kept: Session, session: Session) -> None:
    assert kept.transcript is not None
    told = next(reply for reply in kept.respond(ENDING) if isinstance(reply, Tells)).story
    shades = list(kept.respond("/surprise"))
    folder = kept.transcript.folder

    later = Session(kept.teller, "tiny", SampleConfig(max_tokens=3), transcript=Transcript(folder))
    [listed] = later.respond("/sessions")
    assert isinstance(listed, Lists)
    assert [left for left, _ in listed.rows] == ["1"]
    assert "1 story  tiny" in listed.rows[0][1]
    *_, shown = later.respond("/sessions 1")
    assert isinstance(shown, Tells)
    assert same(shown.story, told)
    assert later.told == [shown.story]
    [again] = later.respond("/surprise")
    assert isinstance(again, Shades)
    assert [word for word, _ in again.words] == [word for word, _ in shades[0].words]  # type: ignore[union-attr]
    list(later.respond("/sessions 1"))
    assert later.told == [shown.story]
    list(kept.respond("/again"))
    list(later.respond("/sessions 1"))
    assert len(later.told) == 2
    assert same(later.told[1], kept.told[1])
    list(later.respond("/history 1"))
    list(later.respond("/more"))
    assert len(sessions(folder)) == 2
    assert [len(each.stories()) for each in sessions(folder)] == [1, 2]
    for line in ("/sessions 2", "/sessions 0"):
        with pytest.raises(ConfigError, match=r"expected 1 to 1$"):
            list(later.respond(line))


def test_continue_has_the_stories_the_model_and_the_settings(tmp_path: Path) -> None:
    folder = tmp_path / "sessions"
    flags = ["--max-tokens", "2", "--temperature", "0.5", "--seed", "8"]
    first = opened(flags)
    first.named = replace(first.named, source=str(built_in_model()))
    first.transcript = Transcript(folder)
    list(first.respond(ENDING))
    last = _last_session(folder)
    again = opened([], last)
    assert again.source == str(built_in_model())
    assert again.settings == replace(first.teller.settings, max_tokens=2, temperature=0.5, seed=9)
    assert opened(["--seed", "1"], last).settings == replace(again.settings, seed=1)
    assert again.standing is again.told[-1]
    assert same(again.told[0], first.told[0])
    assert "1 story is in the /history" in again.greeting()
    again.transcript = Transcript(folder, last.path)
    list(again.respond("/again"))
    assert len(one(folder).stories()) == 2


def test_continue_reads_in_the_same_direction_with_the_same_tokenizer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(built_in_model())
    flags = ["--reversal", "none", "--tokenizer", "tokenizer.model", "--max-tokens", "2"]
    first = opened(flags)
    first.transcript = Transcript(tmp_path)
    list(first.respond("Once there was a fox."))
    list(first.respond("/model stories9m --reversal token --tokenizer tokenizer.model"))
    list(first.respond(ENDING))
    monkeypatch.chdir(tmp_path)
    last = _last_session(tmp_path)
    again = opened([], last)
    assert again.named.tokenizer == str(built_in_model() / "tokenizer.model")
    assert (again.named.reversal, again.prompt) == ("token", "ending> ")
    list(again.respond("/raw"))
    list(again.respond("/more"))
    list(again.respond("/history 1"))
    with pytest.raises(ConfigError, match="grows rightwards"):
        list(again.respond("/more"))
    # What the command line says holds.
    forward = opened(["--reversal", "none"], last)
    assert (forward.named.reversal, forward.prompt) == ("none", "opening> ")
    list(forward.respond("/history 1"))
    list(forward.respond("/more"))
    other = opened(["--model", "stories9m"], last)
    assert (other.named.reversal, other.named.tokenizer, other.prompt) == ("", "", "ending> ")


def test_sessions_of_before_say_less_of_their_models(tmp_path: Path) -> None:
    entry = transcript._as_object(made())
    entry = {name: entry[name] for name in entry if name not in ("reversal", "tokenizer")}
    (tmp_path / "1.jsonl").write_text(json.dumps(entry) + "\n")
    [story] = one(tmp_path).stories()
    assert (story.text, story.reversal, story.tokenizer) == ("x y", "", "")
    entry["reversal"] = "sideways"
    (tmp_path / "1.jsonl").write_text(json.dumps(entry) + "\n")
    assert one(tmp_path).stories() == []


def test_there_is_nothing_to_go_on_with(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--continue: no session is kept in"):
        _last_session(tmp_path)
    (tmp_path / "1.jsonl").write_text("no story\n")
    with pytest.raises(ConfigError, match="--continue: no session is kept in"):
        _last_session(tmp_path)


def test_the_newest_sessions_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transcript, "MOST_SESSIONS", 3)
    for number in range(5):
        own = Transcript(tmp_path)
        own.add(made(f"story {number} "))
        assert own.path is not None
        os.utime(own.path, (number, number))
    shown = [kept.stories()[0].text for kept in sessions(tmp_path)]
    assert shown == ["story 4 y", "story 3 y", "story 2 y"]


def test_a_session_is_bounded_and_says_so_once(
    kept: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert kept.transcript is not None
    folder = kept.transcript.folder
    list(kept.respond(ENDING))
    monkeypatch.setattr(transcript, "LARGEST", one(folder).path.stat().st_size + 1)
    said = [reply for reply in kept.respond("/again") if isinstance(reply, Says)]
    assert len(said) == 1
    assert "is kept in memory only" in said[0].text
    assert not [reply for reply in kept.respond("/again") if isinstance(reply, Says)]
    assert (len(kept.told), len(one(folder).stories())) == (3, 1)


def test_where_nothing_can_be_written_the_conversation_goes_on(
    session: Session, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    session.transcript = Transcript(tmp_path / "file" / "sessions")
    *_, said, told = session.respond(ENDING)
    assert isinstance(said, Says)
    assert "Not a directory" in said.text or "File exists" in said.text
    assert isinstance(told, Tells)
    *_, offered = session.respond("/candidates 2")
    assert isinstance(offered, Offers)


def test_no_link_is_written_through(tmp_path: Path) -> None:
    (tmp_path / "target").touch()
    (tmp_path / "1.jsonl").symlink_to(tmp_path / "target")
    with pytest.raises(OSError, match=r"1\.jsonl"):
        Transcript(tmp_path, tmp_path / "1.jsonl").add(made())
    assert (tmp_path / "target").read_bytes() == b""


def test_a_beginning_is_one_only_where_the_story_has_it(tmp_path: Path) -> None:
    path = tmp_path / "1.jsonl"
    entry = transcript._as_object(made("A fox ran. "))
    rows = [{**entry, "beginning": beginning} for beginning in ("A fox", "A dog")]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    given, damaged = Kept(path, "").stories()
    assert given.parts[0] == ("A fox", True)
    assert damaged.parts == (("", True), ("A fox ran. ", False), ("y", True))


_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)


@settings(max_examples=25)
@given(st.sampled_from(sorted(transcript._as_object(made()))), _JSON, st.text(max_size=20))
def test_what_no_session_wrote_is_passed_over(
    tmp_path_factory: pytest.TempPathFactory, name: str, value: object, text: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.jsonl"
    good = json.dumps(transcript._as_object(made()))
    bad = json.dumps({**transcript._as_object(made()), name: value})
    lines = [good, text, bad, good[:-5], good]
    path.write_text("\n".join(lines), encoding="utf-8")
    read = Kept(path, "").stories()
    assert len(read) >= 2
    for story in read:
        assert isinstance(story.text, str)
        assert not story.settings or not story.settings.problems()
        assert story.mean_surprise is not None
