"""A judge says what the model it is says, whatever is read together with what."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest
from mlx.utils import tree_flatten

import mlx_rev
from mlx_rev.config import ModelConfig
from mlx_rev.errors import ConfigError, FormatError
from mlx_rev.formats.detect import built_in_model
from mlx_rev.generate import judge
from mlx_rev.generate.judge import MlxLmNetwork, ModelJudge, load_judge
from mlx_rev.model.llama import Llama, initialise
from mlx_rev.model.score import token_nats
from mlx_rev.model.scorer import PlainScorer
from mlx_rev.text.codec import StoryCodec
from mlx_rev.text.order import FORWARD, ORDERS, WORD2, Order
from mlx_rev.text.tokenizer import BOUNDARY

BODIES = [
    "Once there was a little dog. It was happy.",
    "",
    "Tom had a red ball. " * 12,
    "A cat said, “Très bien!”",
]
ENDINGS = ["They went home.", "The dog was happy, and so was Tom.", '"Yes," said Mom.']


@pytest.fixture(scope="module")
def model(tiny: ModelConfig) -> Llama:
    llama = Llama(tiny)
    initialise(llama, seed=6, init_std=0.3, embedding_init_std=0.5)
    llama.eval()
    return llama


def judge_of(model: Llama, codec: StoryCodec) -> ModelJudge:
    forward = not codec.order.grows_leftwards
    return ModelJudge("ours", model.ops.scorer(model), codec.encode, BOUNDARY, True, forward)


@pytest.mark.parametrize("order", ORDERS)
def test_texts_are_scored_as_by_the_score_command(
    order: Order, model: Llama, codecs: dict[Order, StoryCodec]
) -> None:
    codec, texts = codecs[order], [*filter(None, BODIES), *ENDINGS]
    stories = [np.array([BOUNDARY, *codec.encode(text), BOUNDARY]) for text in texts]
    assert max(map(len, stories)) > model.config.context + 1
    expected = [float(row.sum()) for row in token_nats(model, stories)]
    shares: list[float] = []
    found = judge_of(model, codec).text_nats(texts, shares.append)
    assert found == pytest.approx(expected, rel=1e-5)
    assert shares == sorted(shares)
    assert shares[-1] == 1


@pytest.mark.parametrize("at_once", [1, 200, 8192])
def test_an_ending_after_a_body_is_what_it_adds(
    at_once: int,
    model: Llama,
    codecs: dict[Order, StoryCodec],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The body's keys are kept, shared and padded beside, and nothing of it shows."""
    monkeypatch.setattr(judge, "_CACHED_AT_ONCE", at_once)
    codec = codecs[FORWARD]
    found = judge_of(model, codec).ending_nats(BODIES, ENDINGS)
    longest = max(len(codec.encode(ending)) for ending in ENDINGS)
    for row, body in zip(found, BODIES, strict=True):
        before = [BOUNDARY, *(codec.encode(body) if body else [])]
        before = before[-(model.config.context - longest + 1) :]
        for nats, ending in zip(row, ENDINGS, strict=True):
            # A space stands in front of every text; so encoded alone it is as after a body.
            ids = codec.encode(ending)
            whole = token_nats(model, [np.array([*before, *ids])])[0]
            assert nats == pytest.approx(whole[-len(ids) :].sum(), rel=1e-4)


def test_only_what_reads_forwards_can_match(model: Llama, codecs: dict[Order, StoryCodec]) -> None:
    backward = judge_of(model, codecs[WORD2])
    assert not backward.forward
    with pytest.raises(ConfigError, match="reads forwards"):
        backward.ending_nats(BODIES, ENDINGS)
    forward = judge_of(model, codecs[FORWARD])
    with pytest.raises(ConfigError, match="give a shorter one"):
        forward.ending_nats(BODIES, ["Tom had a red ball. " * 12])


@pytest.mark.process
def test_mlx_lm_says_the_same_of_the_same_weights() -> None:
    import mlx_lm

    model = mlx_rev.load().model
    ours = model.ops.scorer(model)
    llama = mlx_lm.load(str(built_in_model()))[0]
    llama.set_dtype(mx.float32)  # the files have float16, in which mlx-lm would compute
    theirs = MlxLmNetwork(llama, 256)
    random = np.random.default_rng(0)
    body = random.integers(3, 2000, 40).tolist()
    rows = mx.array(random.integers(3, 2000, (3, 12)))
    for before in ([], body):
        values = []
        for network in (ours, PlainScorer(model), theirs):
            cache = network.read(before, 12)
            shared = [network.shared(cache, 3) for _ in range(2)]  # the first leaves no trace
            values += [network.nats(rows[:, :-1], rows[:, 1:], own) for own in shared]
        for other in values[1:]:
            assert other == pytest.approx(values[0], abs=2e-4)


@pytest.mark.process
def test_a_model_that_only_mlx_lm_knows_is_a_judge(tmp_path: Path) -> None:
    from mlx_lm.models import qwen2

    described = {
        "model_type": "qwen2",
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "intermediate_size": 64,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "rms_norm_eps": 1e-5,
        "vocab_size": 2048,
        "max_position_embeddings": 64,
    }
    folder = tmp_path / "qwen"
    folder.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(built_in_model() / name, folder)
    (folder / "config.json").write_text(json.dumps(described))
    with pytest.raises(FormatError, match="nor can mlx-lm load it"):
        load_judge(str(folder))
    mx.random.seed(0)
    model = qwen2.Model(qwen2.ModelArgs.from_dict(described))
    mx.save_safetensors(
        str(folder / "model.safetensors"),
        dict(tree_flatten(model.parameters())),
        {"format": "mlx"},
    )
    found = load_judge(str(folder))
    assert (found.forward, found.closes, found.network.context) == (True, False, 64)
    ids = [found.boundary, *found.encode("Tom went home.")]
    logits = model(mx.array([ids[:-1]]))
    probabilities = logits - mx.logsumexp(logits, axis=-1, keepdims=True)
    nats = -sum(float(probabilities[0, place, id]) for place, id in enumerate(ids[1:]))
    assert found.text_nats(["Tom went home."]) == pytest.approx([nats], rel=1e-4)
    matrix = found.ending_nats(["Tom ran."], ["He slept."])
    both = found.text_nats(["Tom ran. He slept."]) - found.text_nats(["Tom ran."])
    assert matrix[0] == pytest.approx(both, rel=1e-4)
    long = "Tom went home. " * 30
    assert np.isfinite(found.text_nats([long])).all()
    assert np.isfinite(found.ending_nats([long], ENDINGS)).all()


@pytest.mark.process
def test_a_llama_with_byte_level_pieces_is_a_judge(tmp_path: Path) -> None:
    """Its weights could be read here, but not its tokenizer.json: the kind of most models."""
    from mlx_lm.models import llama
    from tokenizers import ByteLevelBPETokenizer
    from transformers import PreTrainedTokenizerFast

    described = {
        **json.loads((built_in_model() / "config.json").read_text()),
        "vocab_size": 300,
        "mlx_rev": {},
    }
    (tmp_path / "config.json").write_text(json.dumps(described))
    pieces = ByteLevelBPETokenizer()
    pieces.train_from_iterator(ENDINGS * 9, 300, special_tokens=["<|endoftext|>"])
    PreTrainedTokenizerFast(
        tokenizer_object=pieces._tokenizer, eos_token="<|endoftext|>"
    ).save_pretrained(tmp_path)
    model = llama.Model(llama.ModelArgs.from_dict(described))
    arrays = {k: mx.zeros_like(v) if "embed" in k else v
              for k, v in tree_flatten(model.parameters())}  # fmt: skip
    mx.save_safetensors(str(tmp_path / "model.safetensors"), arrays, {"format": "mlx"})
    found = load_judge(str(tmp_path))
    assert isinstance(found.network, MlxLmNetwork)
    assert found.encode(". They went")[1:] == found.encode(" They went")
    # Without an embedding every piece is as likely as any other.
    nats = found.ending_nats(["", "Tom ran."], ENDINGS)
    lengths = [len(found.encode(f" {ending}")) for ending in ENDINGS]
    assert nats == pytest.approx(np.log(300) * np.array([lengths, lengths]), rel=1e-4)


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"nothing")
    for reference in ("no-such-model", tmp_path, tmp_path / "model.bin"):
        with pytest.raises(FormatError):
            load_judge(str(reference))


def test_a_judge_of_llama2c_knows_an_ending_that_belongs(shared: Path) -> None:
    found = load_judge(str(shared / "llama2c" / "stories260K.bin"))
    assert (found.forward, found.says_reversal) == (True, False)
    bodies = [
        "Once upon a time, there was a little dog named Max. Max lost his red ball.",
        "Lily and her mom baked a cake. Lily put sugar on the cake.",
    ]
    nats = found.ending_nats(bodies, ["Max found his ball.", "Lily ate the cake."])
    assert nats[0, 0] < nats[1, 0]
    assert nats[1, 1] < nats[0, 1]


@pytest.mark.parametrize("order", ORDERS)
def test_what_stands_next_to_a_text_is_judged_as_in_the_whole(
    order: Order, model: Llama, codecs: dict[Order, StoryCodec]
) -> None:
    codec = codecs[order]
    contexts, texts = (
        ["Tom had a ball.", "The dog was happy. It ran."],
        ["A cat sat.", "He ran up."],
    )
    found = judge_of(model, codec).adjoining_nats(contexts, texts)
    for row, context in enumerate(contexts):
        for column, text in enumerate(texts):
            whole = f"{text} {context}" if order.grows_leftwards else f"{context} {text}"
            before, ids = codec.encode(context), codec.encode(whole)
            assert ids[: len(before)] == before
            nats = token_nats(model, [np.array([BOUNDARY, *ids])])[0]
            assert found[row, column] == pytest.approx(nats[len(before) :].sum(), rel=1e-4)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("closes", [True, False])
def test_a_text_next_to_another_is_read_once_for_both_figures(
    order: Order, closes: bool, model: Llama, codecs: dict[Order, StoryCodec]
) -> None:
    found = replace(judge_of(model, codecs[order]), closes=closes)
    contexts = ["Tom had a ball.", "The dog was happy. It ran.", "Tom had a red ball. " * 12]
    contexts = [context.strip() for context in contexts]
    texts = ["A cat sat there.", "They ran.", "A cat sat there."]
    whole = [
        " ".join(pair[::-1] if order.grows_leftwards else pair)
        for pair in zip(contexts, texts, strict=True)
    ]
    joined, next_to = found.joined_nats(contexts, texts)
    assert joined == pytest.approx(found.text_nats(whole), rel=1e-5)
    assert next_to == pytest.approx(np.diag(found.adjoining_nats(contexts, texts)), rel=1e-4)
