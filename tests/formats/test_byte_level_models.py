"""Models with a byte-level vocabulary: through every format that can hold one, and telling."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer as Peer

import mlx_rev
from mlx_rev.config import ModelConfig, SampleConfig
from mlx_rev.errors import RevError
from mlx_rev.formats.convert import convert
from mlx_rev.formats.detect import open_model
from mlx_rev.formats.huggingface import write_folder
from mlx_rev.formats.model_file import ModelFile
from mlx_rev.generate.decode import begin_stories, never_written, write_stories
from mlx_rev.model.load import load_model
from mlx_rev.text.byte_level import ByteLevel
from mlx_rev.text.codec import StoryCodec
from mlx_rev.text.order import TOKEN, WORD
from tests.byte_level import MARKS, byte_level
from tests.formats.conftest import drawn

TARGETS = {"mlx": "m", "gguf": "m.gguf", "run": "run"}


@pytest.fixture(scope="module")
def model(tiny: ModelConfig, some_stories: list[str]) -> ModelFile:
    """A random model that reads tokens backwards."""
    tokenizer = byte_level(some_stories[:100])
    return replace(drawn(tiny), tokenizer=tokenizer, order=TOKEN)


@pytest.mark.parametrize("second", TARGETS)
@pytest.mark.parametrize("first", TARGETS)
def test_it_comes_back_from_every_pair_of_formats(
    tmp_path: Path, model: ModelFile, first: str, second: str
) -> None:
    (tmp_path / "one").mkdir()
    convert(model, tmp_path / "one" / TARGETS[first], first)
    once = open_model(tmp_path / "one" / TARGETS[first])
    (tmp_path / "two").mkdir()
    convert(once, tmp_path / "two" / TARGETS[second], second)
    twice = open_model(tmp_path / "two" / TARGETS[second])
    for found in (once, twice):
        assert found.tokenizer is not None
        assert model.tokenizer is not None
        assert found.tokenizer.fingerprint == model.tokenizer.fingerprint
        assert (found.boundary, found.end_of_text) == (1, 1)
        assert found.tokenizer.forward_boundary == 2
        assert found.order is TOKEN
        assert found.config == model.config
        for name, weight in model.weights():
            assert np.array_equal(found.weight(name), weight), name


def test_llama2c_refuses_it_and_says_why(tmp_path: Path, model: ModelFile) -> None:
    with pytest.raises(RevError, match=r"byte-level BPE.* run\.c has no patterns.*mlx or gguf"):
        convert(model, tmp_path / "m.bin")
    assert not list(tmp_path.iterdir())


def test_gguf_refuses_a_split_that_it_has_no_name_for(tmp_path: Path, model: ModelFile) -> None:
    assert isinstance(model.tokenizer, ByteLevel)
    known = replace(model.tokenizer.vocabulary, whole_words=True)
    other = replace(model, tokenizer=ByteLevel(known))
    with pytest.raises(RevError, match=r"GGUF has no name for .*smollm.*--to mlx"):
        convert(other, tmp_path / "m.gguf")
    convert(other, tmp_path / "m")
    found = open_model(tmp_path / "m").tokenizer
    assert isinstance(found, ByteLevel)
    assert found.vocabulary == known


def test_the_library_reads_the_folder_and_puts_the_boundary_in_front(
    tmp_path: Path, model: ModelFile
) -> None:
    convert(model, tmp_path / "m")
    theirs = Peer.from_file(str(tmp_path / "m" / "tokenizer.json"))
    assert model.tokenizer is not None
    assert theirs.encode("It's 12 dogs.").ids == [1, *model.tokenizer.encode("It's 12 dogs.")]
    config = json.loads((tmp_path / "m" / "tokenizer_config.json").read_text())
    assert (config["bos_token"], config["eos_token"]) == (MARKS[1], MARKS[1])


def test_a_model_by_others_keeps_the_end_of_its_texts(tmp_path: Path, model: ModelFile) -> None:
    """Without a reversal it is taken for a forward one, which closes a text with EOS."""
    for target in ("m", "m.gguf"):
        convert(replace(model, order=None), tmp_path / target)
        found = open_model(tmp_path / target)
        assert (found.boundary, found.end_of_text, found.order) == (1, 2, None)
    config = json.loads((tmp_path / "m" / "config.json").read_text())
    assert (config["bos_token_id"], config["eos_token_id"]) == (1, 2)


Change = Callable[[dict[str, object]], None]


@pytest.mark.parametrize(
    ("eos", "said"), [(2, 2), ([2, 0], 2), (None, 1)], ids=["one", "several", "none"]
)
def test_a_folder_by_others_says_its_boundaries_in_its_config(
    tmp_path: Path, model: ModelFile, eos: object, said: int
) -> None:
    folder = tmp_path / "m"
    convert(replace(model, order=None), folder)
    config = json.loads((folder / "config.json").read_text())
    del config["mlx_rev"]
    (folder / "config.json").write_text(json.dumps({**config, "eos_token_id": eos}))
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    (folder / "tokenizer.json").write_text(json.dumps({**tokenizer, "post_processor": None}))
    found = open_model(folder)
    assert (found.boundary, found.end_of_text) == (1, said)


@pytest.mark.parametrize("target", ["m/tokenizer.json", "m/config.json", "m.gguf"])
def test_flipped_bits_raise_nothing_but_what_a_person_can_read(
    tmp_path: Path, model: ModelFile, target: str
) -> None:
    convert(model, tmp_path / target.split("/")[0])
    path = tmp_path / target
    whole = path.read_bytes()
    head = min(len(whole), 12000)
    rng = np.random.default_rng(2)
    for _ in range(120):
        content = bytearray(whole)
        for place in rng.integers(0, head, 2):
            content[place] ^= 1 << int(rng.integers(0, 8))
        path.write_bytes(content)
        try:
            found = open_model(tmp_path / target.split("/")[0])
            assert found.tokenizer is not None
            ids = found.tokenizer.encode("It's 12 dogs.")
            assert found.tokenizer.decode(ids) == "It's 12 dogs."
        except RevError:
            continue


def test_rows_beyond_the_pieces_get_marks(tmp_path: Path, model: ModelFile) -> None:
    wide = drawn(replace(model.config, vocab_size=448))
    (tmp_path / "m").mkdir()
    write_folder(tmp_path / "m", replace(wide, tokenizer=model.tokenizer, order=TOKEN))
    config = tmp_path / "m" / "config.json"
    described = json.loads(config.read_text())
    found = open_model(tmp_path / "m").tokenizer
    assert described["vocab_size"] == 448
    assert found is not None
    assert found.vocab_size == 448
    assert found.piece_bytes[400:] == (b"",) * 48
    convert(open_model(tmp_path / "m"), tmp_path / "m.gguf")
    assert open_model(tmp_path / "m.gguf").tokenizer.vocab_size == 448  # type: ignore[union-attr]


def test_a_forward_model_by_others_ends_a_text_with_its_own_mark(
    tmp_path: Path, model: ModelFile
) -> None:
    convert(replace(model, order=None), tmp_path / "m")
    card = (tmp_path / "m" / "README.md").read_text(encoding="utf-8")
    assert "The token 1 stands before a text, and 2 ends it." in card
    loaded = load_model(tmp_path / "m")
    settings = SampleConfig(temperature=20.0, top_p=1.0, max_tokens=40)
    stories = begin_stories(loaded.model, loaded.codec, ["Once"] * 40, settings)
    for _ in write_stories(loaded.model, loaded.codec, stories, settings):
        pass
    ended = [story for story in stories if story.tokens[-1] == 2]
    assert ended
    assert {story.finished for story in ended} == {"boundary"}
    assert not any({1, 2} & set(story.tokens[:-1]) for story in stories)
    assert not any(0 in story.tokens for story in stories)


def test_what_isnever_written_are_marks_and_what_stands_for_the_unknown(
    model: ModelFile, talking: ModelFile, some_stories: list[str]
) -> None:
    """Id 0 is <unk> in a SentencePiece vocabulary, and text in Llama 3's."""
    last = byte_level(some_stories[:20], 300, marks_last=True)
    expected = {last: {297, 299}, model.tokenizer: {0, 2}, talking.tokenizer: {0, 2}}
    for tokenizer, never in expected.items():
        assert tokenizer is not None
        found = never_written(StoryCodec(tokenizer, TOKEN))
        assert set(np.flatnonzero(found).tolist()) == never


@pytest.mark.parametrize("order", [TOKEN, WORD])
def test_it_tells_stories_that_end_as_asked(
    tmp_path: Path, model: ModelFile, order: object
) -> None:
    convert(replace(model, order=order), tmp_path / "m")  # type: ignore[arg-type]
    teller = mlx_rev.load(tmp_path / "m")
    ending = "They all lived happily."
    for seed in range(3):
        story = teller.tell(ending, seed=seed, temperature=2.0, max_tokens=30)
        assert story.text.endswith(ending)
        written = [token for token in story.tokens if token != 1]
        assert all(teller.codec.tokenizer.piece_bytes[token] for token in written)
