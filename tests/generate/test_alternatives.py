"""What is offered at a place of a story, where the model's logits are written by hand."""

import mlx.core as mx
import numpy as np
import pytest

from mlx_rev.config import ModelConfig
from mlx_rev.generate.alternatives import alternatives
from mlx_rev.text.codec import StoryCodec
from mlx_rev.text.order import WORD, Order
from tests.generate.test_rerank import telling


def test_what_is_only_a_gap_or_cannot_come_is_not_offered(
    tiny: ModelConfig, codecs: dict[Order, StoryCodec], monkeypatch: pytest.MonkeyPatch
) -> None:
    teller = telling(tiny, codecs[WORD])
    pieces = teller.codec.tokenizer.piece_bytes
    logits = np.full((1, len(pieces)), -np.inf, np.float32)
    for piece, logit in ((b"\n", 3), (b" t", 2), (b" w", 1)):
        logits[0, pieces.index(piece)] = logit
    monkeypatch.setattr(teller.model, "next_logits", lambda *_: mx.array(logits))
    found = alternatives(teller, "dog ran.", 5)
    assert [each.generated.strip() for each in found] == ["t", "w"]
    shares = np.exp([2, 1]) / np.exp([3, 2, 1]).sum()
    assert [each.probability for each in found] == pytest.approx(shares)
    assert len(alternatives(teller, "dog ran.", 1)) == 1
