"""tokenizer.json, as the tokenizers library of transformers and mlx-lm reads it, from a
SentencePiece BPE model.

The format has no pre-tokenizer here: the text gets ▁ in front and for every space, characters
are merged by rank, and what is no piece falls back to bytes.
"""

from typing import Any

import sentencepiece

from mlx_rev.text.tokenizer import BOUNDARY, SPACE_MARK, Tokenizer


def tokenizer_json(tokenizer: Tokenizer) -> dict[str, Any]:
    """The content of tokenizer.json; encoding adds the boundary in front."""
    processor = sentencepiece.SentencePieceProcessor(model_proto=tokenizer.model)
    ids = range(tokenizer.vocab_size)
    pieces = [str(processor.id_to_piece(token)) for token in ids]
    boundary = pieces[BOUNDARY]
    special = [token for token in ids if processor.is_control(token) or processor.is_unknown(token)]
    prepend = [{"type": "Prepend", "prepend": SPACE_MARK}] if tokenizer.adds_space else []
    strip = [{"type": "Strip", "content": " ", "start": 1, "stop": 0}] if prepend else []
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [_added(token, pieces[token]) for token in special],
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


def tokenizer_config(tokenizer: Tokenizer) -> dict[str, Any]:
    """The content of tokenizer_config.json: the boundary both begins and ends a text."""
    processor = sentencepiece.SentencePieceProcessor(model_proto=tokenizer.model)
    boundary = str(processor.id_to_piece(BOUNDARY))
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": boundary,
        "eos_token": boundary,
        "unk_token": str(processor.id_to_piece(processor.unk_id())),
        "add_bos_token": True,
        "add_eos_token": False,
        "clean_up_tokenization_spaces": False,
    }


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


def _added(token: int, piece: str) -> dict[str, Any]:
    return {
        "id": token,
        "content": piece,
        "single_word": False,
        "lstrip": False,
        "rstrip": False,
        "normalized": False,
        "special": True,
    }


def _replace(pattern: str, content: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": {"String": pattern}, "content": content}


def _template(boundary: str) -> dict[str, Any]:
    return {"SpecialToken": {"id": boundary, "type_id": 0}}
