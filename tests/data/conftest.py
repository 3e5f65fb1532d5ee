from multiprocessing.connection import wait

import pytest

from mlx_rev.data import workers
from mlx_rev.text.codec import StoryCodec
from mlx_rev.text.order import BOTH_WAYS, WORD2, Order


@pytest.fixture
def codec(codecs: dict[Order, StoryCodec]) -> StoryCodec:
    """Of both directions."""
    [both] = [order for order in BOTH_WAYS if order.one_way == WORD2.one_way]
    return StoryCodec(codecs[WORD2].tokenizer, both)


@pytest.fixture
def busy_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each worker is waited for until it is there, and has no answer soon after that: so as many
    are started as may be, whatever the timing."""
    seen: set[object] = set()

    def answered(outputs: list[object], timeout: float) -> list[object]:
        are_new = not seen.issuperset(outputs)
        seen.update(outputs)
        return list(wait(outputs, 60)) if are_new else []  # type: ignore[arg-type]

    monkeypatch.setattr(workers, "wait", answered)
