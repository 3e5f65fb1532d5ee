"""The study's arms and its write-up; the trainings themselves are only tried with -m slow."""

import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import study
import study_conclusion
from study_arms import MARK, Arm, arms, prepare_arm, sequences
from study_measures import classes
from study_report import write_report

from mlx_rev.data.prepare import Prepared
from mlx_rev.errors import ConfigError
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


def test_another_text_in_the_same_folder_has_a_vocabulary_of_its_own(
    files: tuple[Path, ...], tmp_path: Path
) -> None:
    _, valid, cache = files
    prepared("forward", files)
    other = tmp_path / "other.txt"
    other.write_text((files[0]).read_text(encoding="utf-8").upper(), encoding="utf-8")
    for name in ("forward", "token"):
        mixed = prepared(name, (other, valid, cache)).codec.tokenizer.fingerprint
        alone = prepared(name, (other, valid, tmp_path / "cache")).codec.tokenizer.fingerprint
        assert mixed == alone
        assert prepared(name, files).codec.tokenizer.fingerprint != alone


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
        "about": "a",
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
    for written in ("question", "answer", "setup"):
        (out / "study" / f"{written}.md").write_text(f"# What {written} says\n")
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
    assert "- 1.5m: nothing is measured." in text
    assert "- 260k, not measured: word order with the forward vocabulary against" in text
    assert "50% of the endings are recognised (40% to 60%), more than chance gives" in text
    assert "not finished" in text
    assert "What answer says" not in text
    assert (out / "study" / "arrow-260k.png").stat().st_size > 1000
    # Results of what is not planned do not stand for those that are.
    (results / "260k-both-0.json").write_text(json.dumps(result(BY_NAME["both"], 0, 1.5)))
    write_report(results, out, [*planned, "1.5m-forward-0"])
    text = (out / "study.md").read_text()
    assert "6 of 7 trainings are done" in text
    assert "not finished" in text
    write_report(results, out, planned)
    whole = (out / "study.md").read_text()
    assert whole.startswith("# What question says\n\n# What answer says\n\n# What setup says\n")
    assert "not finished" not in whole


def test_the_answer_has_no_figure_that_the_results_lack(tmp_path: Path) -> None:
    """People wrote it, from what the program wrote."""
    docs = study.ROOT / "docs"
    shutil.copytree(docs / "study", tmp_path / "study")
    names = [f"{size}-{arm.name}-{seed}" for size, seed, arm in study.planned()]
    write_report(study.RESULTS, tmp_path, names)
    written = (tmp_path / "study.md").read_text()
    assert written == (docs / "study.md").read_text()
    answer = (docs / "study" / "answer.md").read_text()
    own = re.sub(r"\([^()]*arXiv[^()]*\)", "", answer)
    figures = set(re.findall(r"\d[\d.]*%", own))
    assert len(figures) > 10
    found = written.replace(answer, "")
    assert found != written
    assert not [figure for figure in figures if not re.search(rf"(?<![\d.]){figure}", found)]


def test_results_of_different_texts_are_not_written_up_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "study").mkdir()
    for written in ("question", "answer", "setup"):
        (tmp_path / "study" / f"{written}.md").write_text("# Question\n")
    for name, size, text in (("forward", "260k", "a"), ("word", "1.5m", "b")):
        own = result(BY_NAME[name], 0, 1.0) | {"size": size, "about": text}
        (tmp_path / f"{name}.json").write_text(json.dumps(own))
    write_report(tmp_path, tmp_path, ["260k-forward-0"])
    own = result(BY_NAME["word"], 0, 1.0) | {"about": "b"}
    (tmp_path / "more.json").write_text(json.dumps(own))
    with pytest.raises(ConfigError, match=r"260k-forward-0.json and 260k-word-0.json are of diff"):
        write_report(tmp_path, tmp_path, ["260k-forward-0"])
    monkeypatch.setattr("sys.argv", ["study.py", "report", "--results", str(tmp_path)])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=r"study: .*260k-word-0.json are of different texts"):
        study.main()


@pytest.mark.parametrize(
    ("token", "seeds", "whole", "said"),
    [
        (0.9, (0, 1), True, "token order is cheaper at 260k by -10.0% (-10.0% to -10.0%)."),
        (1.1, (0, 1), True, "token order is dearer at 260k by +10.0% (+10.0% to +10.0%)."),
        (1.0, (0, 1), True, "no other choice is shown to cost less or more."),
        (0.9, (0,), True, "no other choice is shown to cost less or more."),
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
