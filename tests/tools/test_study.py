"""The study's arms and its write-up; the trainings themselves are only tried with -m slow."""

import itertools
import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import study
import study_conclusion
from study_arms import ENDINGS, MARK, Arm, arms, prepare_arm, sequences
from study_conclusion import Difference, difference, ending_difference
from study_measures import classes
from study_noise import Noise, noise_of, student_t
from study_report import write_report

from mlx_rev.data.prepare import Prepared
from mlx_rev.text.sentences import last_sentences

BY_NAME = {arm.name: arm for arm in arms()}


@pytest.fixture(scope="module")
def files(some_stories: list[str], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    folder = tmp_path_factory.mktemp("study")
    for name, part in (("train", some_stories[:200]), ("valid", some_stories[200:230])):
        text = "\n<|endoftext|>\n".join(part)
        (folder / f"{name}.txt").write_text(text, encoding="utf-8")
    return folder / "train.txt", folder / "valid.txt", folder / "cache"


def prepared(name: str, files: tuple[Path, ...]) -> Prepared:
    train, valid, cache = files
    return prepare_arm(BY_NAME[name], train, valid, 330, cache)[0]


def test_ending_first_has_the_ending_and_then_the_whole_story(
    files: tuple[Path, ...], some_stories: list[str]
) -> None:
    data = prepared("ending-first", files)
    for index in range(5):
        ids = data.train.story(index).tolist()[1:-1]
        mark = ids.index(MARK)
        assert data.codec.decode(ids[mark + 1 :]) == some_stories[index]
        assert data.codec.decode(ids[:mark]) == last_sentences(some_stories[index])


def test_fill_in_gives_every_story_back_whole_or_in_its_three_parts(
    files: tuple[Path, ...], some_stories: list[str]
) -> None:
    data = prepared("fill-in", files)
    marks = [bytes([byte]) for byte in (2, 3, 4)]
    whole = asked = 0
    for index, story in enumerate(some_stories[:200]):
        ids = data.train.story(index).tolist()[1:-1]
        text = b"".join(data.codec.tokenizer.piece_bytes[token] for token in ids)
        if marks[0] not in text:
            assert data.codec.decode(ids) == story
            whole += 1
            continue
        empty, rest = text.split(marks[0])
        assert not empty
        first, rest = rest.split(marks[1])
        last, middle = rest.split(marks[2])
        parts = [part.decode().removeprefix(" ") for part in (first, middle, last)]
        assert "".join(parts) == story
        asked += parts[0] == "" and parts[2] == last_sentences(story)
    assert 70 < whole < 130
    assert 25 < asked < 80


def test_stream_rows_are_cut_from_one_stream(files: tuple[Path, ...]) -> None:
    stream, packed = prepared("forward-stream", files), prepared("forward", files)
    [whole] = stream.train.stories()
    assert whole.tolist() == packed.train.shards[0].tokens.tolist()
    assert stream.train.text_bytes.tolist() == [packed.train.text_bytes.sum()]


def test_arms_share_a_vocabulary_where_they_say_so(files: tuple[Path, ...]) -> None:
    forward = prepared("forward", files).codec.tokenizer.fingerprint
    for arm in arms():
        own = prepared(arm.name, files).codec.tokenizer.fingerprint
        assert (own == forward) is not arm.own_vocabulary


def test_what_is_scored_of_fill_in_is_the_plain_story(files: tuple[Path, ...]) -> None:
    arm, codec = BY_NAME["fill-in"], prepared("fill-in", files).codec
    ids = sequences(arm, codec, ["Tom was happy."])[0].tolist()
    assert codec.decode(ids[1:-1]) == "Tom was happy."


def test_a_piece_has_the_class_of_the_word_that_it_is_in() -> None:
    pieces = [b"The", b" do", b"g", b" Spot", b" ran", b"."]
    assert classes("The dog Spot ran.", pieces, frozenset({"Spot"})) == [
        *("function word", "content word", "content word", "name", "content word", "punctuation"),
    ]


def result(arm: Arm, seed: int, bits: float) -> dict[str, object]:
    group = {"a": [bits, 10.0, 5.0], "b": [2 * bits, 10.0, 5.0]}
    place = {str(start): [bits * 10, 10.0, 5.0] for start in (1, 2, 4)}
    keys = ("retrieved", "reciprocal_rank", "ending_bits_per_byte", "bits_per_byte", "loops", "cut")
    endings = {prefix + key: [0.5, 0.4, 0.6] for key in keys for prefix in ("", "real ")}
    return {
        **{"arm": arm.name, "size": "260k", "seed": seed, "cpu_seconds": 36, "epochs": 0.5},
        **{"bytes_per_token": 2.5, "story_bytes": [100, 200]},
        "bits": {
            "stories": [bits * 100, bits * 200],
            "place": place,
            "class": group,
            "form": group,
        },
        **({"endings": endings} if arm.takes_endings else {}),
    }


def test_the_report_has_every_arm_that_was_run_and_its_difference(tmp_path: Path) -> None:
    results, out = tmp_path / "results", tmp_path / "docs"
    results.mkdir()
    (out / "study").mkdir(parents=True)
    (out / "study" / "question.md").write_text("# Question\n")
    for name, bits in (("forward", 1.0), ("word", 1.1), ("token", 1.05)):
        for seed in (0, 1, 2)[: 3 if name == "word" else 2]:
            path = results / f"260k-{name}-{seed}.json"
            path.write_text(json.dumps(result(BY_NAME[name], seed, bits * (1 + seed / 100))))
    planned = [f"260k-{arm}-{seed}" for arm in ("forward", "word", "token") for seed in (0, 1)]
    write_report(results, out, [*planned, "1.5m-forward-0"])
    text = (out / "study.md").read_text()
    # What only one arm has would move its mean.
    assert "| word order, own vocabulary | 1.1055 | 0.0110 | +10.0% (+10.0% to +10.0%) | " in text
    assert "Of the seeds that all arms have: 0, 1. The sentences above count more of" in text
    assert "count more of word order, own vocabulary 3. The noise of one training: 0.00%" in text
    assert "| forward | 1.0050 | 0.0100 |  |" in text
    assert "50% (40% to 60%)" in text
    assert "6 of 7 trainings are done" in text
    assert "- 260k, token order, the same ids from the other end, against forward: +5.0%" in text
    assert "in 2 seeds (+5.0% to +5.0%): it costs that." in text
    assert "- 1.5m: nothing is measured yet." in text
    assert "- 260k, not measured yet: word order with the forward vocabulary against" in text
    assert "50% of the endings are recognised (40% to 60%), more than chance gives" in text
    assert "not finished" in text
    assert (out / "study" / "arrow-260k.png").stat().st_size > 1000
    # Results of what is not planned do not stand for those that are.
    (results / "260k-both-0.json").write_text(json.dumps(result(BY_NAME["both"], 0, 1.5)))
    write_report(results, out, [*planned, "1.5m-forward-0"])
    text = (out / "study.md").read_text()
    assert "6 of 7 trainings are done" in text
    assert "not finished" in text


@pytest.mark.parametrize(
    ("degrees", "quantile"),
    [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (5, 2.571), (8, 2.306), (30, 2.042)],
)
def test_students_quantiles_are_those_of_the_tables(degrees: int, quantile: float) -> None:
    assert student_t(degrees) == pytest.approx(quantile, abs=5e-4)


def test_noise_is_what_arm_and_seed_do_not_explain() -> None:
    random = np.random.default_rng(0)
    shifts = {"a": 5.0, "b": -3.0, "c": 0.5}
    exact = {(arm, seed): shift + seed**2 for arm, shift in shifts.items() for seed in range(3)}
    assert noise_of(exact).variance == pytest.approx(0, abs=1e-20)
    assert noise_of(exact).degrees == 4
    del exact["b", 2]
    assert noise_of(exact).degrees == 3
    assert noise_of({key: exact[key] for key in [("a", 0), ("b", 0)]}) == Noise(0.0, 0)
    assert math.isinf(Noise(0.0, 0).margin(1, 0.0))
    estimates = [
        noise_of({key: value + random.normal(0, 0.1) for key, value in exact.items()}).variance
        for _ in range(1000)
    ]
    assert np.mean(estimates) == pytest.approx(0.01, rel=0.1)


def test_seeds_that_differ_by_chance_are_seldom_called_a_difference() -> None:
    """Seeds move arms by 1%, drawing other stories by a tenth of that: no arm is better."""
    random, names, shown = np.random.default_rng(1), list(BY_NAME)[:5], 0
    stories = random.uniform(50, 150, 40)
    pairs = list(itertools.combinations(names, 2))
    for _ in range(60):
        found = {
            name: [noisy(BY_NAME[name], seed, stories, random) for seed in (0, 1)] for name in names
        }
        noise = study_conclusion.noise_of_bits(own for group in found.values() for own in group)
        for own, other in pairs:
            compared = difference(found[own], found[other], noise)
            assert compared is not None
            shown += compared.is_shown
    assert 0.01 < shown / (60 * len(pairs)) < 0.09


def noisy(
    arm: Arm, seed: int, stories: np.ndarray, random: np.random.Generator
) -> dict[str, object]:
    bits = stories * np.exp(random.normal(0, 0.01) + random.normal(0, 0.006, len(stories)))
    return {"arm": arm.name, "seed": seed, "bits": {"stories": bits.tolist()}}


@pytest.mark.parametrize(
    ("low", "high", "seeds", "is_shown"),
    [
        (0.1, 0.3, 2, True),
        (-0.3, -0.1, 2, True),
        (-0.1, 0.3, 2, False),
        (0.0, 0.3, 2, False),
        (-0.3, 0.0, 2, False),
        (0.1, 0.3, 1, False),
        (-0.3, -0.1, 1, False),
        (0.1, 0.3, 3, True),
        (-math.inf, math.inf, 3, False),
    ],
)
def test_a_difference_is_shown_by_its_interval_and_two_seeds(
    low: float, high: float, seeds: int, is_shown: bool
) -> None:
    assert Difference((low + high) / 2, low, high, (0.2,) * seeds).is_shown is is_shown


def test_a_difference_is_paired_by_seed_and_as_wide_as_seeds_and_stories_have_it() -> None:
    def of(seed: int, *bits: float) -> dict[str, object]:
        return {"seed": seed, "bits": {"stories": list(bits)}}

    other = [of(1, 200, 200), of(0, 100, 100), of(2, 1, 1)]
    found = difference([of(0, 110, 110), of(1, 242, 242), of(5, 9, 9)], other, Noise(0.0004, 4))
    assert found is not None
    assert found.each == pytest.approx((0.1, 0.21))
    middle, margin = math.log(1.1 * 1.21) / 2, 2.7764 * 0.02
    assert found.mean == pytest.approx(math.exp(middle) - 1)
    assert found.low == pytest.approx(math.exp(middle - margin) - 1, abs=1e-5)
    assert found.high == pytest.approx(math.exp(middle + margin) - 1, abs=1e-5)
    wider = difference([of(0, 100, 120)], other, Noise(0.0, 4))
    assert wider is not None
    assert wider.low < 0.05 < 0.15 < wider.high
    assert difference([of(7, 1, 1)], other, Noise(0.0, 4)) is None


def endings(arm: str, seed: int, hits: float, rank: float, bits: float) -> dict[str, object]:
    return {
        **{"arm": arm, "seed": seed},
        "endings": {
            "retrieved": [hits, 0.0, 1.0],
            "reciprocal_rank": [rank, rank - 0.01, rank + 0.01],
            "ending_bits_per_byte": [bits, bits - 0.01, bits + 0.01],
        },
    }


def test_a_difference_of_endings_has_both_arms_intervals_in_it() -> None:
    own = [endings("a", seed, 0.1, 0.5 + seed / 10, 1) for seed in (1, 0)]
    other = [endings("b", seed, 0.1, 0.3, 1) for seed in (0, 1, 2)]
    found = ending_difference(own, other, Noise(0.02, 8), "reciprocal_rank")
    assert found is not None
    assert found.each == pytest.approx((0.3, 0.2))
    margin = 2.306 * math.sqrt(2 * 0.02 / 2 + 2 * (0.01 / 1.95996) ** 2)
    assert (found.mean, found.high - found.low) == pytest.approx((0.25, 2 * margin), rel=1e-4)


@pytest.mark.parametrize(
    ("hits", "seeds", "beats"),
    [
        (0.03, 1, False),
        (0.04, 1, True),
        (0.025, 2, False),
        (0.03, 2, True),
        (7 / 300, 3, False),
        (8 / 300, 3, True),
    ],
)
def test_chance_is_beaten_by_what_it_seldom_gives(hits: float, seeds: int, beats: bool) -> None:
    """P(4 or more of 100) is 1.8%, of 3 or more 7.9%; of 200, 1.6% from 6 on and 5.2%
    from 5; of 300, 3.3% from 7 on and 1.2% from 8."""
    assert ENDINGS == 100
    results = [endings("word", seed, hits, 0.1, 1) for seed in range(seeds)]
    assert study_conclusion._beats_chance(results) is beats


BETTER, WORSE = "the rank of its ending is better", "the rank of its ending is worse"
LIKELIER = "how likely the judge finds its ending is better"
LESS_LIKELY = "how likely the judge finds its ending is worse"


@pytest.mark.parametrize(
    ("hits", "rank", "bits", "seeds", "said"),
    [
        (0.01, 0.5, 0.5, (0, 1), "neither is better than chance, so nothing can be said."),
        (0.01, 0.5, 0.5, (0,), "so nothing can be said (one seed; no claim)."),
        (0.2, 0.5, 0.5, (0, 1), f"{BETTER}; {LIKELIER}."),
        (0.2, 0.1, 1.5, (0, 1), f"{WORSE}; {LESS_LIKELY}."),
        (0.2, 0.31, 0.5, (0, 1), f"{LIKELIER}; no difference is shown in the rank of its ending."),
        (0.2, 0.31, 1.01, (0, 1), "no difference is shown in the rank of its ending or how likely"),
        (0.2, 0.5, 0.5, (0,), "no difference is shown in the rank of its ending or how likely"),
        (0.2, 0.5, 0.5, (7,), "not measured yet."),
    ],
)
def test_which_arm_leads_better(
    hits: float, rank: float, bits: float, seeds: Sequence[int], said: str
) -> None:
    found = {
        "word": [endings("word", seed, hits, rank, bits) for seed in seeds],
        # The seeds in another order: results are paired by seed, not by place.
        "fill-in": [endings("fill-in", seed, 0.0, 0.3, 1.0) for seed in (1, 0)],
    }
    assert said in study_conclusion._leading(found, "word", "fill-in")
    assert study_conclusion._leading(found, "word", "both") == "not measured yet."


def test_seeds_that_disagree_show_no_better_lead() -> None:
    ranks = {"word": (0.7, 0.35), "fill-in": (0.2, 0.4)}
    found = {
        arm: [endings(arm, seed, 0.2, rank, 1.0) for seed, rank in enumerate(own)]
        for arm, own in ranks.items()
    }
    assert "no difference is shown in the rank" in study_conclusion._leading(
        found, "word", "fill-in"
    )


@pytest.mark.parametrize(
    ("token", "seeds", "whole", "said"),
    [
        (0.9, (0, 1), True, "token order is cheaper at 260k by -10.0% (-10.0% to -10.0%)."),
        (1.1, (0, 1), True, "token order is dearer at 260k by +10.0% (+10.0% to +10.0%)."),
        (1.0, (0, 1), True, "no other order is shown to cost less or more."),
        (0.9, (0,), True, "no other order is shown to cost less or more."),
        (0.9, (0, 1), False, "nothing before all trainings are done."),
    ],
)
def test_what_it_says_of_the_defaults(
    token: float, seeds: Sequence[int], whole: bool, said: str
) -> None:
    found = {
        name: [result(BY_NAME[name], seed, bits * (1 + seed / 10)) for seed in seeds]
        for name, bits in (("word", 1.0), ("token", token), ("forward", 2.0))
    }
    labels = {name: arm.label for name, arm in BY_NAME.items()}
    assert study_conclusion._defaults({"260k": found}, labels, whole=whole).strip().endswith(said)


def options(tmp_path: Path, **given: object) -> study.Run:
    paths = {name: tmp_path / name for name in ("data", "valid", "judge", "judge_tokenizer")}
    for name, path in paths.items():
        if not path.exists():
            path.write_text(name)
    return study.Run(**paths, **given)  # type: ignore[arg-type]


def test_what_is_tried_out_is_kept_apart(tmp_path: Path) -> None:
    real, tried = options(tmp_path), options(tmp_path, steps=2)
    assert (real.results_folder, real.work_folder.name) == (study.RESULTS, "study")
    assert tried.results_folder.parent == tried.work_folder != real.work_folder
    own = options(tmp_path, steps=2, work=tmp_path / "w", results=tmp_path / "r")
    assert (own.work_folder, own.results_folder) == (tmp_path / "w", tmp_path / "r")


def test_what_depends_on_something_else_is_done_again(tmp_path: Path) -> None:
    target, about = tmp_path / "a.json", options(tmp_path).about("260k")
    assert about["steps"] == 1200
    assert not study.is_done(target, about)
    target.write_text(json.dumps({"about": about}))
    assert study.is_done(target, about)
    assert not study.is_done(target, options(tmp_path, steps=2).about("260k"))
    (tmp_path / "other").write_text("another judge")
    assert not study.is_done(target, about | {"judge": study._fingerprint(tmp_path / "other")})
    target.write_text("{}")  # as the first results are
    assert study.is_done(target, about)


def test_seconds_before_a_kill_count_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter([10.0, 15.0, 2.0, 6.0, 0.0, 1.0])
    monkeypatch.setattr(study.time, "process_time", lambda: next(seconds))
    kept, event = tmp_path / "run.json", object()
    study.Spent(kept, {"steps": 2}).report(event)  # type: ignore[arg-type]
    again = study.Spent(kept, {"steps": 2})
    assert again.goes_on
    assert again.seconds == 5 + 4
    other = study.Spent(kept, {"steps": 3})
    assert not other.goes_on
    assert other.seconds == 1


@pytest.mark.slow
def test_an_arm_is_trained_measured_and_not_done_again(
    files: tuple[Path, ...], shared_data: Path, tmp_path: Path
) -> None:
    llama = shared_data / "llama2c"
    command = study.Run(
        data=shared_data / "tinystories" / "train.txt",
        valid=shared_data / "tinystories" / "valid.txt",
        judge=llama / "stories260K.bin",
        judge_tokenizer=llama / "tok512.bin",
        work=tmp_path / "work",
        steps=2,
    )
    found = study.result_of(command, BY_NAME["both"], "260k", 0)
    assert len(found["bits"]["stories"]) == len(found["bits_forward"]["stories"]) == study.SCORED
    assert 0 <= found["endings"]["retrieved"][0] <= 1
    assert np.isfinite(found["bits"]["stories"]).all()
