"""Which model is talked to, what is known of it, and where it is exported to."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from mlx_rev.config import SampleConfig
from mlx_rev.errors import ConfigError, RevError
from mlx_rev.formats.detect import built_in_model
from mlx_rev.generate.teller import load
from mlx_rev.repl.names import short_name
from mlx_rev.repl.replies import (
    Converted,
    Lists,
    Offers,
    Says,
)
from mlx_rev.repl.session import Session
from tests.repl.conftest import last

ENDING = "The dog was happy."


def test_info_has_shape_size_training_and_bits_per_byte() -> None:
    known = last(Session(load(), "stories9m"), "/info")
    assert isinstance(known, Lists)
    rows = dict(known.rows)
    assert rows["parameters"] == "9,361,152"
    assert rows["shape"].startswith("layers 11, width 256, heads 4")
    assert rows["trained for"] == "2,977 steps"
    assert rows["bits per byte"].startswith("0.64")
    assert Path(rows["recipe"]).name == "stories9m.toml"
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
    assert Session(session.teller, "stories9m").settings == own


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


def test_a_story_by_the_same_model_in_another_order_has_no_figures_here() -> None:
    session = Session(load(), "stories9m", SampleConfig(max_tokens=4))
    last(session, ENDING)
    last(session, "/model stories9m --reversal token")
    for line in ("/surprise", "/raw"):
        with pytest.raises(
            ConfigError, match="is by stories9m, not by stories9m --reversal token; tell"
        ):
            last(session, line)
    last(session, ENDING)
    last(session, "/surprise")
    last(session, "/model stories9m")
    with pytest.raises(
        ConfigError, match="is by stories9m --reversal token, not by stories9m; tell"
    ):
        last(session, "/raw")


def test_orders_tell_apart_what_one_model_told() -> None:
    session = Session(load(), "stories9m", SampleConfig(max_tokens=2))
    last(session, ENDING)
    compared = last(session, "/compare stories9m --reversal none")
    assert isinstance(compared, Offers)
    assert compared.titles == ("stories9m (word,none)", "stories9m (none)")
