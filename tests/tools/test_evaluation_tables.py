"""The tables of docs/evaluation.md: made in parts, gone on with, written up."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import evaluation_report
import evaluation_table
import evaluation_weight
import meeting_table
import numpy as np
import pytest
from evaluation_table import JUDGED, LIKELIEST, ONE, OPENINGS, REAL, SHUFFLED, SMALLER

from mlx_rev.config import ModelConfig, SampleConfig
from mlx_rev.generate import bootstrap
from mlx_rev.generate.judge import judge_of
from mlx_rev.generate.measures import EndedStory, words_of
from mlx_rev.generate.rerank import Candidate
from mlx_rev.generate.teller import Teller
from mlx_rev.model.llama import Llama, initialise
from mlx_rev.model.load import Loaded
from mlx_rev.text.codec import StoryCodec
from mlx_rev.text.order import BOTH_WAYS, FORWARD, WORD2, Order

ROWS = [REAL, SHUFFLED, ONE, LIKELIEST, evaluation_table.BOTH_WAYS, JUDGED, OPENINGS, SMALLER]


@pytest.fixture
def files(
    tiny: ModelConfig,
    codecs: dict[Order, StoryCodec],
    some_stories: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> dict[str, Path]:
    """Held-out stories, and where things go; models that are there already."""
    shape = replace(tiny, n_layers=1, context=256)
    models = [Llama(shape), Llama(shape)]
    for seed, model in enumerate(models):
        initialise(model, seed)
    codec = StoryCodec(codecs[WORD2].tokenizer, BOTH_WAYS[0])
    loaded = Loaded(models[0], codec, settings=SampleConfig(max_tokens=12, temperature=1.5))
    judge = Loaded(models[1], codecs[FORWARD])
    monkeypatch.setattr(evaluation_table, "load", lambda *_, **__: Teller(loaded))
    monkeypatch.setattr(evaluation_table, "load_judge", lambda *_: judge_of(judge))
    (tmp_path / "valid.txt").write_text("\n<|endoftext|>\n".join(some_stories[:30]))
    return {"valid": tmp_path / "valid.txt", "out": tmp_path / "out", "report": tmp_path / "a.md"}


@pytest.mark.process
def test_every_row_is_made_once_and_written_up(
    files: dict[str, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = evaluation_table.Options(
        judge="j.bin", count=4, best_of=3, weight=0.5, smaller="models/small", **files
    )
    options = replace(options, training=str(files["valid"]))
    with monkeypatch.context() as patch:
        patch.setattr(evaluation_table, "best_opening", None)
        with pytest.raises(TypeError):
            evaluation_table.make_rows(options)
    assert {path.stem for path in files["out"].iterdir()} == set(ROWS) - {OPENINGS}
    monkeypatch.setattr(evaluation_table, "_TIMED", 1)
    before = (files["out"] / f"{JUDGED}.json").read_bytes()
    evaluation_table.make_rows(options)
    assert "4 openings each" not in capsys.readouterr().out
    assert (files["out"] / f"{JUDGED}.json").read_bytes() == before
    rows = {name: json.loads((files["out"] / f"{name}.json").read_text()) for name in ROWS}
    endings = [story["ending"] for story in rows[REAL]["stories"]]
    for row in rows.values():
        assert [story["ending"] for story in row["stories"]] == endings
        assert all(story["text"].endswith(story["ending"]) for story in row["stories"])
        assert len(row["figures"]["retrieved"]["values"]) == 4
    assert (rows[SMALLER]["about"]["smaller"], "smaller" in rows[ONE]["about"]) == (
        "models/small",
        0,
    )
    assert rows[LIKELIEST]["stories"] != rows[ONE]["stories"]
    assert rows[JUDGED]["cpu_seconds"] > rows[LIKELIEST]["cpu_seconds"] > 0

    monkeypatch.setattr(evaluation_table, "measure_rows", None)
    evaluation_table.make_rows(options)
    with pytest.raises(TypeError):
        evaluation_table.make_rows(replace(options, seed=1))
    with pytest.raises(TypeError):
        evaluation_table.make_rows(replace(options, smaller="another"))

    evaluation_report.write_report(files["out"], files["report"])
    text = files["report"].read_text()
    for label in (
        "best of 3 by the model's own",
        "forward + 0.5 × backward",
        "by `small`",
        "j.bin",
    ):
        assert label in text
    assert text.count("\n- ") == 5
    assert "{" not in text
    # The real stories are in what is taken for the training text here.
    found = json.loads((files["out"] / "training.json").read_text())["rows"]
    assert set(found) == set(ROWS)
    lengths = [len(words_of(EndedStory(**story).body)) for story in rows[REAL]["stories"]]
    assert found[REAL]["copied"]["mean"] == np.mean(lengths)
    assert found[REAL]["unknown_words"]["mean"] == 0 < found[ONE]["unknown_words"]["mean"]
    assert found[ONE]["copied"]["mean"] < np.mean(lengths)
    ways = json.loads((files["out"] / "cost.json").read_text())["ways"]
    assert list(ways) == [ONE, JUDGED]
    assert all(0 < way["first"] < way["seconds"] for way in ways.values())
    assert ways[ONE]["tokens"] <= 12 < ways[JUDGED]["tokens"] <= 36
    assert "| 1.0× |" in text


def test_the_weight_is_chosen_on_other_endings(files: dict[str, Path]) -> None:
    options = evaluation_weight.Options(judge="j.bin", after=3, count=3, best_of=3, **files)
    content = evaluation_weight.measured(options)
    of_weights = {name: row for name, row in content["rows"].items() if name[0].isdigit()}
    likeliest = min(of_weights, key=lambda name: of_weights[name]["ending_bits_per_byte"])
    assert f"{content['best']:g}" == likeliest
    assert set(content["rows"]) - set(of_weights) == {evaluation_weight.CHOSEN}
    (files["out"]).mkdir()
    (files["out"] / "weights.json").write_text(json.dumps(content))
    evaluation_report.write_report(files["out"], files["report"])
    text = files["report"].read_text()
    assert "| weight 0.25 |" in text
    assert f"3 stories each, {likeliest} is best" in text


def test_the_likeliest_both_ways_weighs_the_backward_half() -> None:
    both = [candidate("A b.", judged=0.8, own=1.2), candidate("C d.", judged=0.9, own=0.9)]
    for weight, best in ((0, "A b."), (0.2, "A b."), (0.5, "C d.")):
        assert evaluation_table.likeliest_both_ways(both, weight).text == best


def candidate(text: str, judged: float, own: float) -> Candidate:
    story = SimpleNamespace(text=text, prompt=text, finished="boundary")
    bits = {"judge_bits_per_byte": judged, "bits_per_byte": own}
    return cast(Candidate, SimpleNamespace(story=story, **bits))


def test_a_difference_is_paired_by_ending() -> None:
    """What all endings share does not widen the interval of the difference."""
    random = np.random.default_rng(0)
    own, weights = random.normal(size=50), random.uniform(1, 2, 50)
    rows = [
        {"figures": {"x": {"values": (own + more).tolist(), "weights": weights.tolist()}}}
        for more in (0.5, 0)
    ]
    found = evaluation_report._difference(rows[0], rows[1], "x", 0)
    assert found == pytest.approx((0.5, 0.5, 0.5))
    assert evaluation_report._signed(found, "{:.1f}") == "+0.5 (+0.5 to +0.5)"
    rank = {"reciprocal_rank": (0.1, 0.0, 0.2), "ending_bits_per_byte": (-0.1, -0.2, -0.05)}
    mixed = {"retrieved": (-0.1, -0.2, -0.05), "faults": (0.2, 0.1, 0.3), **rank}
    assert evaluation_report._in_words(mixed) == (
        "better in how likely its ending is; worse in how often its ending is recognised and "
        "faults; no difference is shown in the rank of its ending."
    )


def test_faults_of_a_story_are_counted_together() -> None:
    figures = {key: {"values": [1.0, 0.0]} for key in evaluation_report.FAULTS}
    found = evaluation_report._faults(figures, 0)
    assert (found["mean"], found["values"]) == (2.0, [4.0, 0.0])


def test_what_is_true_or_false_of_a_story_has_the_interval_of_shares() -> None:
    """Wilson's is 0.84 to 1 for 20 of 20; what is a mean of other things is drawn again."""
    always = {"values": [1.0] * 20, "weights": [1.0] * 20}
    for key in (*evaluation_report.FAULTS, "retrieved"):
        low = evaluation_report._estimated(key, always, 0)["low"]
        assert low == pytest.approx(0.8389, abs=5e-5)
    for key in ("faults", "reciprocal_rank", "distinct_2"):
        assert evaluation_report._estimated(key, always, 0)["low"] == 1


@pytest.mark.process
def test_meetings_go_on_where_they_were_stopped(
    files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = meeting_table.Options(judge="j.bin", count=3, **files)
    whole, meet, calls = files["out"] / "meetings.json", meeting_table.meet, []

    def stopped(*given: object) -> object:
        calls.append(given)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return meet(*given, rounds=1)  # type: ignore[arg-type]

    monkeypatch.setattr(meeting_table, "meet", stopped)
    with pytest.raises(KeyboardInterrupt):
        meeting_table.tell_and_measure(options)
    assert len(json.loads(whole.read_text())["meetings"]) == 2
    meeting_table.tell_and_measure(options)
    assert len(calls) == 4
    content = json.loads(whole.read_text())
    meeting_table.tell_and_measure(options)
    assert (len(calls), json.loads(whole.read_text())) == (4, content)
    summary = content["summary"]
    assert [row["label"] for row in summary["retrieval"]] == ["meetings", "real stories"]
    # More than nine in ten of some real boundaries are good: those that the measure is taken from.
    assert all(set(row["own"]) <= {0, 1} for row in summary["seams"])
    evaluation_report.write_report(files["out"], files["report"])
    text = files["report"].read_text()
    assert text.count(" **|** ") == 3
    assert "3 held-out stories gave" in text
    assert "{" not in text


@dataclass(frozen=True)
class NumberJudge:
    """Knows by its number which text belongs to which: it costs a bit a byte, any other one five;
    but what a text of number 0 stands next to costs nothing if it is asked of several."""

    forward: bool
    name: str = "numbers"

    def joined_nats(
        self, contexts: Sequence[str], texts: Sequence[str], progress: object
    ) -> tuple[np.ndarray, np.ndarray]:
        costs = [
            np.log(2) * len(text.encode()) * (1 if _number(context) == _number(text) else 5)
            for context, text in zip(contexts, texts, strict=True)
        ]
        return np.array(costs), np.array(costs)

    def ending_nats(self, bodies: Sequence[str], endings: Sequence[str]) -> np.ndarray:
        same = np.array([[_number(one) == _number(two) for two in endings] for one in bodies])
        return np.where(same, 1.0, 9.0)

    def adjoining_nats(self, contexts: Sequence[str], texts: Sequence[str]) -> np.ndarray:
        nats = self.ending_nats(contexts, texts)
        nats[[_number(context) == "0" for context in contexts]] = 0
        return nats


def _number(text: str) -> str:
    return next(letter for letter in text if letter.isdigit())


def numbered(number: int) -> meeting_table.Parts:
    beginning, before, after, ending = (f"The {thing} is {number}." for thing in "abcd")
    return meeting_table.Parts(f"{beginning} ", f"{before} ", f"{after} ", ending)


def test_seams_are_good_up_to_the_real_ones_and_sides_are_found_from_their_own_side() -> None:
    real = [numbered(number) for number in range(4)]
    met = [{**vars(parts), "cpu_seconds": 1, "rounds": 1, "good": True} for parts in real]
    judges = NumberJudge(forward=True), NumberJudge(forward=False)
    found = meeting_table.summary(real, met, judges, judges[0], 0)  # type: ignore[arg-type]
    assert found["boundaries"] == 12
    good = {row["label"]: (row["own"], row["judge"], row["median"]) for row in found["seams"]}
    as_real, exchanged = ([1] * 4, [1] * 4, pytest.approx(1)), ([0] * 4, [0] * 4, pytest.approx(5))
    assert list(good.values()) == [as_real, exchanged, as_real, exchanged]
    for row in found["retrieval"]:
        assert [row["ending"][0], row["ending_across"][0]] == [1, 1]
        # Beginning 0 makes any rest likelier than its own beginning does.
        assert [row["beginning"][0], row["beginning_across"][0]] == [0.25, 0.25]


def test_the_report_pairs_the_seams_and_says_what_chance_gives(tmp_path: Path) -> None:
    seams = [
        {"label": label, "own": own, "judge": judge, "median": 1.0}
        for label, own, judge in (
            ("meetings", [1] * 20, [1] * 18 + [0] * 2),
            ("random seams", [1] * 5 + [0] * 15, [1] * 16 + [0] * 4),
        )
    ]
    summary = {"count": 20, "boundaries": 9, "seams": seams, "retrieval": []}
    summary |= {"cpu_seconds": 1.0, "rounds": 1.0, "good": 1.0}
    content = {"about": {"judge": "j.bin", "seed": 0}, "meetings": [], "summary": summary}
    (tmp_path / "meetings.json").write_text(json.dumps(content))
    evaluation_report.write_report(tmp_path, tmp_path / "a.md")
    text = (tmp_path / "a.md").read_text()
    assert "| meetings | 100% (84% to 100%) | 90% (70% to 97%) | 1.00 |" in text
    assert "by the\nmodel +75% (+55% to +90%), by `j.bin` +10% (+0% to +25%)." in text
    assert "| chance | 5% | 5% | 5% | 5% |" in text


def test_real_stories_are_cut_into_parts_that_join(some_stories: list[str]) -> None:
    found = meeting_table.real_parts(some_stories, 10)
    assert len({parts.ending for parts in found}) == 10
    for parts in found:
        assert parts.left + parts.right in some_stories
        assert parts.before.strip()
        assert parts.after.strip()
    cuts = meeting_table._boundaries(some_stories[0], 0)
    assert all("".join(cut) == some_stories[0] for cut in cuts)
    assert len(set(cuts)) == len(cuts) > 2
    assert bootstrap.CONFIDENCE == 0.95
