"""Rows as training reads them."""

import io

import numpy as np

from mlx_rev.data.prepare import Prepared
from mlx_rev.data.shard_set import ShardSet
from mlx_rev.data.shards import Shard
from mlx_rev.text.codec import StoryCodec
from mlx_rev.text.order import Order
from mlx_rev.ui.console import make_console
from mlx_rev.ui.rows import show_rows


def test_a_row_shows_what_is_read_and_what_it_spells(
    codecs: dict[Order, StoryCodec], some_stories: list[str]
) -> None:
    for order, codec in codecs.items():
        stories = codec.enclosed(some_stories[:6])
        tokens = np.array([codec.boundary, *(id for ids in stories for id in ids[1:])], np.uint16)
        starts = np.cumsum([0, *(len(ids) - 1 for ids in stories)]).astype(np.uint64)
        sizes = np.array([len(story.encode()) for story in some_stories[:6]], np.uint32)
        shards = ShardSet((Shard(400, order.name, "", "", starts, sizes, tokens),))
        context = sum(map(len, stories)) + 40
        console = make_console(io.StringIO())
        console.width = 100_000
        show_rows(Prepared(codec, shards, shards, ""), context, 99, 7, console)
        shown = console.file.getvalue()
        texts = [story.replace("\n", "⏎") for story in some_stories[:6]]
        assert all(f"   reads  {text}\n" in shown for text in texts)
        assert "row 1 of 1" in shown
        ids = stories[0]
        pieces = codec.tokenizer.piece_bytes
        model = "|".join(pieces[i].decode(errors="replace") for i in ids[1:-1])
        assert f"   model  <s>|{model}|<s>\n".replace("\n", "⏎")[:-1] in shown
        assert shown.count("a story, ") == 6
        assert " padding" in shown


def test_a_cut_story_is_said_to_be_one(codecs: dict[Order, StoryCodec]) -> None:
    codec = next(iter(codecs.values()))
    [ids] = codec.enclosed(["Tom saw a dog. " * 20])
    starts = np.array([0, len(ids) - 1], np.uint64)
    shard = Shard(400, "word2", "", "", starts, np.array([300]), np.array(ids, np.uint16))
    shards = ShardSet((shard,))
    console = make_console(io.StringIO())
    show_rows(Prepared(codec, shards, shards, ""), len(ids) // 3 + 1, 3, 7, console)
    shown = console.file.getvalue()
    for part in ("what is read first of a story", "the middle of a story", "what is read last of"):
        assert shown.count(part) == 1
