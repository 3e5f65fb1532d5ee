"""The study's arms and its write-up; the trainings themselves are only tried with -m slow."""

import json
from pathlib import Path

import numpy as np
import pytest
from study_arms import MARK, Arm, arms, prepare_arm, sequences
from study_measures import classes
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
        for seed in (0, 1):
            path = results / f"260k-{name}-{seed}.json"
            path.write_text(json.dumps(result(BY_NAME[name], seed, bits + seed / 100)))
    planned = [f"260k-{arm}-{seed}" for arm in ("forward", "word", "token") for seed in (0, 1)]
    write_report(results, out, [*planned, "1.5m-forward-0"])
    text = (out / "study.md").read_text()
    row = "| word order, own vocabulary | 1.1050 | 0.0100 | +10.0% (+10.0% to +10.0%) | "
    assert f"{row}+9.9% to +10.0% |" in text
    assert "| forward | 1.0050 | 0.0100 |  |" in text
    assert "50% (40% to 60%)" in text
    assert "6 of 7 trainings are done" in text
    assert "- 260k, token order, the same ids from the other end, against forward: +5.0%" in text
    assert "in 2 seeds (+5.0% to +5.0%): it costs that." in text
    assert "- 1.5m: nothing is measured yet." in text
    assert "- 260k, not measured yet: word order with the forward vocabulary against" in text
    assert "50% of the endings are recognised (40% to 60%), which is more than chance" in text
    assert "not finished" in text
    assert (out / "study" / "arrow-260k.png").stat().st_size > 1000


@pytest.mark.slow
def test_an_arm_is_trained_measured_and_not_done_again(
    files: tuple[Path, ...], shared_data: Path, tmp_path: Path
) -> None:
    import study

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
