"""A byte-level BPE vocabulary learnt by the `tokenizers` library, and its own reading of it."""

import json
from collections.abc import Iterable
from dataclasses import replace

from tokenizers import AddedToken, decoders, models, pre_tokenizers, trainers
from tokenizers import Tokenizer as Peer

from mlx_rev.fields import Fields
from mlx_rev.text.byte_level import ByteLevel
from mlx_rev.text.byte_level_json import vocabulary_of

MARKS = ("<|endoftext|>", "<|begin|>", "<|end|>")
"""By id. The second bounds a story, the third a forward one, as in SmolLM2-Instruct."""


def peer(texts: Iterable[str], size: int = 400, split: object = None) -> Peer:
    """The library's own tokenizer, with all single bytes; split as SmolLM2's by default."""
    made = Peer(models.BPE())
    made.pre_tokenizer = split or pre_tokenizers.Sequence(  # type: ignore[assignment]
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    made.decoder = decoders.ByteLevel()  # type: ignore[assignment]
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[AddedToken(mark, special=True) for mark in MARKS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(texts, trainer)
    return made


def ours(theirs: Peer) -> ByteLevel:
    """Our reading of the library's tokenizer."""
    content = Fields(json.loads(theirs.to_str()), "tokenizer.json")
    return ByteLevel(vocabulary_of(content, 1, 2))


def byte_level(texts: Iterable[str], size: int = 400, *, marks_last: bool = False) -> ByteLevel:
    """A vocabulary of `size` pieces of `texts`; with `marks_last`, text begins at id 0, as in
    Llama 3."""
    made = ours(peer(texts, size))
    if not marks_last:
        return made
    known, count = made.vocabulary, len(MARKS)
    turned = replace(
        known,
        pieces=(*known.pieces[count:], *known.pieces[:count]),
        marks=frozenset(range(size - count, size)),
        boundary=size - 2,
        forward_boundary=size - 1,
    )
    return ByteLevel(turned)
