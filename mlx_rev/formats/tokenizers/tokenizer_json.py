"""tokenizer.json, as the tokenizers library of transformers and mlx-lm reads it, from a
SentencePiece BPE model and back.

What is written has no pre-tokenizer: the text gets ▁ in front and for every space, characters are
merged by rank, and what is not a piece falls back to bytes. mlx_lm.convert keeps no other file.
"""

from typing import Any

import sentencepiece

from mlx_rev.errors import FormatError
from mlx_rev.fields import Fields
from mlx_rev.formats.tokenizers.sentencepiece_model import (
    Kind,
    Piece,
    kind_at,
    pieces_of,
    tokenizer_of,
    with_marks,
    without_marks,
)
from mlx_rev.text.sentencepiece import SPACE_MARK, SentencePiece
from mlx_rev.text.tokenizer import BOUNDARY

_ADDED = "added_tokens"


def tokenizer_json(tokenizer: SentencePiece) -> dict[str, Any]:
    """The content of tokenizer.json; encoding adds the boundary in front."""
    processor = sentencepiece.SentencePieceProcessor(model_proto=tokenizer.content)
    size = tokenizer.vocab_size
    while processor.is_unused(size - 1):
        size -= 1  # padding: the format lets a model have more rows than pieces
    known = pieces_of(tokenizer)[:size]
    pieces = [
        without_marks(piece.text) if piece.kind is Kind.USER_DEFINED else piece.text
        for piece in known
    ]
    boundary = pieces[BOUNDARY]
    prepend = [{"type": "Prepend", "prepend": SPACE_MARK}] if tokenizer.adds_space else []
    strip = [{"type": "Strip", "content": " ", "start": 1, "stop": 0}] if prepend else []
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        _ADDED: [
            _added(token, pieces[token], special=piece.kind is not Kind.USER_DEFINED)
            for token, piece in enumerate(known)
            if piece.kind in (Kind.UNKNOWN, Kind.CONTROL, Kind.USER_DEFINED)
        ],
        "normalizer": {
            "type": "Sequence",
            "normalizers": [*prepend, _replace(" ", SPACE_MARK)],
        },
        "pre_tokenizer": None,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [_template(boundary), {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [
                _template(boundary),
                {"Sequence": {"id": "A", "type_id": 0}},
                _template(boundary),
                {"Sequence": {"id": "B", "type_id": 0}},
            ],
            "special_tokens": {boundary: {"id": boundary, "ids": [BOUNDARY], "tokens": [boundary]}},
        },
        "decoder": {
            "type": "Sequence",
            "decoders": [
                _replace(SPACE_MARK, " "),
                {"type": "ByteFallback"},
                {"type": "Fuse"},
                *strip,
            ],
        },
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": pieces[processor.unk_id()],
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": True,
            "ignore_merges": False,
            "vocab": {piece: token for token, piece in enumerate(pieces)},
            "merges": _merges(processor, pieces),
        },
    }


def tokenizer_config(tokenizer: SentencePiece, end_of_text: int) -> dict[str, Any]:
    """The content of tokenizer_config.json: the boundary begins a text, and `end_of_text`, most
    often the boundary too, ends it."""
    processor = sentencepiece.SentencePieceProcessor(model_proto=tokenizer.content)
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": str(processor.id_to_piece(BOUNDARY)),
        "eos_token": str(processor.id_to_piece(end_of_text)),
        "unk_token": str(processor.id_to_piece(processor.unk_id())),
        "add_bos_token": True,
        "add_eos_token": False,
        "clean_up_tokenization_spaces": False,
    }


def is_sentencepiece(content: Fields) -> bool:
    """Whether a tokenizer.json was made from a SentencePiece BPE model, as Llama's is; GPT's, for
    instance, is not."""
    model = content.object("model")
    return model.text("type", "") == "BPE" and model.flag("byte_fallback", False)


def tokenizer_from_json(content: Fields) -> SentencePiece:
    """The SentencePiece model that a tokenizer.json was made from.

    A piece's score is minus the rank of the first merge that makes it: SentencePiece goes by the
    piece, the format by the pair, and what was made from SentencePiece agrees. Raises FormatError
    for one of another kind, or with gaps between its ids.
    """
    source = content.source
    if not is_sentencepiece(content):
        raise FormatError(f"{source}: not made from a SentencePiece BPE model, as Llama's is")
    model = content.object("model")
    for name in ("vocab", "merges"):
        if not model.has(name):
            raise model.error(name, "the pieces" if name == "vocab" else "a list of pairs")
    vocab = model.object("vocab")
    vocabulary = {vocab.integer(text): text for text in vocab.values}
    _check_steps(content)
    added = {each.integer("id"): each for each in content.objects(_ADDED)}
    vocabulary.update({token: each.text("content") for token, each in added.items()})
    if sorted(vocabulary) != list(range(len(vocabulary))):
        raise FormatError(f"{source}: its {len(vocabulary)} ids are not 0 to {len(vocabulary) - 1}")
    merges = [_merged(model, merge) for merge in model.list("merges")]
    ranks = {text: rank for rank, text in reversed(list(enumerate(merges)))}
    pieces = []
    for token in range(len(vocabulary)):
        text = vocabulary[token]
        kind = kind_at(token, text)
        if token in added and kind is Kind.NORMAL:
            is_mark = added[token].flag("special", False)
            kind, text = Kind.CONTROL if is_mark else Kind.USER_DEFINED, with_marks(text)
        score = 0.0 if kind is not Kind.NORMAL else -float(ranks.get(text, len(merges)))
        pieces.append(Piece(text, score, kind))
    return tokenizer_of(pieces, adds_space=_adds_space(content), source=source)


def _merged(model: Fields, merge: Any) -> str:
    """The piece that a merge makes; newer files store a pair, older ones a string."""
    pair = merge.split(" ") if isinstance(merge, str) else merge
    if not isinstance(pair, list) or not all(isinstance(part, str) for part in pair):
        raise model.error("merges", "pairs of pieces")
    return "".join(pair)


def _normalizers(content: Fields) -> list[Fields]:
    whole = content.object("normalizer")
    if whole.text("type", "") == "Sequence":
        return list(whole.objects("normalizers"))
    return [whole] if whole.values else []


def _check_steps(content: Fields) -> None:
    """Raise FormatError for a step that does more than SentencePiece: put ▁ in front of a text and
    in the place of each space."""
    allowed = {"type": "Prepend", "prepend": SPACE_MARK}, _replace(" ", SPACE_MARK)
    for step in _normalizers(content):
        if step.values not in allowed:
            raise content.error(
                "normalizer", f"only steps that put {SPACE_MARK} in front and for each space"
            )
    splitter = content.object("pre_tokenizer")
    if splitter.values and (
        splitter.text("type", "") != "Metaspace"
        or splitter.text("replacement", SPACE_MARK) != SPACE_MARK
    ):
        raise content.error("pre_tokenizer", f"null, or a Metaspace that writes {SPACE_MARK}")


def _adds_space(content: Fields) -> bool:
    """Whether ▁ is put in front: by a normalizer in older files, a pre-tokenizer in newer ones."""
    if any(step.text("type", "") == "Prepend" for step in _normalizers(content)):
        return True
    splitter = content.object("pre_tokenizer")
    always = splitter.flag("add_prefix_space", False)
    scheme = splitter.text("prepend_scheme", "always" if always else "")
    return splitter.text("type", "") == "Metaspace" and scheme in ("always", "first")


def _merges(processor: sentencepiece.SentencePieceProcessor, pieces: list[str]) -> list[list[str]]:
    """Every pair of pieces that makes a piece, in the order in which SentencePiece prefers them."""
    plain = {
        piece: processor.get_score(token)
        for token, piece in enumerate(pieces)
        if not (
            processor.is_control(token) or processor.is_unknown(token) or processor.is_byte(token)
        )
    }
    ranked = [
        (-score, -cut, cut - len(piece), piece[:cut], piece[cut:])
        for piece, score in plain.items()
        for cut in range(1, len(piece))
        if piece[:cut] in plain and piece[cut:] in plain
    ]
    ranked.sort(key=lambda merge: merge[:3])
    return [[left, right] for *_, left, right in ranked]


def _added(token: int, piece: str, *, special: bool) -> dict[str, Any]:
    return {
        "id": token,
        "content": piece,
        "single_word": False,
        "lstrip": False,
        "rstrip": False,
        "normalized": False,
        "special": special,
    }


def _replace(pattern: str, content: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": {"String": pattern}, "content": content}


def _template(boundary: str) -> dict[str, Any]:
    return {"SpecialToken": {"id": boundary, "type_id": 0}}
