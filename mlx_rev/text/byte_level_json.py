"""A byte-level BPE vocabulary as tokenizer.json, the file of the `tokenizers` library.

What is written here is cut down to what decides the ids. Its post-processor puts the boundary in
front of a text, and names the mark that bounds a forward story after it.
"""

from collections.abc import Mapping
from typing import Any

from mlx_rev.errors import FormatError
from mlx_rev.fields import Fields
from mlx_rev.text.byte_level_vocabulary import Vocabulary, byte_level

_ADDED = "added_tokens"
_TEMPLATE = "TemplateProcessing"


def described(known: Vocabulary) -> dict[str, Any]:
    """The content of tokenizer.json; encoding adds the boundary in front."""
    ids = {known.pieces[token]: token for token in (known.boundary, known.forward_boundary)}
    begin = {"SpecialToken": {"id": known.pieces[known.boundary], "type_id": 0}}
    first, second = ({"Sequence": {"id": name, "type_id": 0}} for name in "AB")
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        _ADDED: [
            _added(token, known.pieces[token], special=token in known.marks)
            for token in sorted(known.marks | known.verbatim)
        ],
        "normalizer": None,
        "pre_tokenizer": known.pre_tokenizer,
        "post_processor": {
            "type": _TEMPLATE,
            "single": [begin, first],
            "pair": [begin, first, begin, second],
            "special_tokens": {
                name: {"id": name, "ids": [token], "tokens": [name]} for name, token in ids.items()
            },
        },
        "decoder": byte_level(use_regex=True),
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": known.whole_words,
            "vocab": {piece: token for token, piece in enumerate(known.pieces)},
            "merges": [list(merge) for merge in known.merges],
        },
    }


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


def is_byte_level(content: Fields) -> bool:
    """Whether a tokenizer.json is of this kind."""
    steps = _steps(content.object("pre_tokenizer"), "pretokenizers")
    return any(step.text("type", "") == "ByteLevel" for step in steps)


def vocabulary_of(
    content: Fields, boundary: int | None = None, forward_boundary: int | None = None
) -> Vocabulary:
    """The vocabulary of a tokenizer.json, written here or by others.

    The boundaries are those given, for a file that does not name them as ours do. Raises
    FormatError, naming the field, for one of another kind, or that changes a text.
    """
    model = content.object("model")
    if model.text("type", "BPE") != "BPE" or not is_byte_level(content):
        kind = model.text("type", "none")
        raise FormatError(
            f"{content.source}: a tokenizer of kind {kind}; expected byte-level BPE, or one made "
            "from a SentencePiece BPE model"
        )
    _check_lossless(content, model)
    vocab = model.object("vocab")
    pieces = {vocab.integer(text): text for text in vocab.values}
    added = {each.integer("id"): each for each in content.objects(_ADDED)}
    pieces.update({token: each.text("content") for token, each in added.items()})
    if sorted(pieces) != list(range(len(pieces))):
        raise FormatError(
            f"{content.source}: its {len(pieces)} ids are not 0 to {len(pieces) - 1}; damaged"
        )
    marks = frozenset(token for token, each in added.items() if each.flag("special", False))
    own = _boundaries(content, pieces)
    begin, end = (*own, *own[-1:] * 2)[:2] if own else (None, None)
    if len(own) < 2:
        begin = begin if boundary is None else boundary
        end = begin if forward_boundary is None else forward_boundary
    if begin is None or end is None:
        raise FormatError(
            f"{content.source}: does not say which token begins a text; expected one in its "
            f"{_TEMPLATE}, or bos_token_id in config.json"
        )
    return Vocabulary(
        pieces=tuple(pieces[token] for token in range(len(pieces))),
        merges=tuple(_merge(model, merge) for merge in model.list("merges")),
        marks=marks,
        boundary=begin,
        forward_boundary=end,
        pre_tokenizer=_pre_tokenizer(content),
        whole_words=model.flag("ignore_merges", False),
        verbatim=frozenset(added) - marks,
    )


def _check_lossless(content: Fields, model: Fields) -> None:
    """Raise FormatError for a field with which a text would not come back."""
    normalizer = content.object("normalizer")
    if normalizer.values and normalizer.values != {"type": "Sequence", "normalizers": []}:
        raise content.error("normalizer", "null: what it changes in a text could not come back")
    for name in ("continuing_subword_prefix", "end_of_word_suffix"):
        if model.text(name, ""):
            raise model.error(name, "null")
    if model.number("dropout", 0.0):
        raise model.error("dropout", "null")


def _pre_tokenizer(content: Fields) -> Mapping[str, Any]:
    """How a text is split. Raises FormatError for a step that would lose some of it."""
    whole = content.object("pre_tokenizer")
    made: list[dict[str, Any]] = []
    for step in _steps(whole, "pretokenizers"):
        match step.text("type", ""):
            case "ByteLevel":
                if step.flag("add_prefix_space", True):
                    raise step.error("add_prefix_space", "false: a space more could not be told")
                made.append(byte_level(use_regex=step.flag("use_regex", True)))
            case "Digits":
                individual = step.flag("individual_digits", False)
                made.append({"type": "Digits", "individual_digits": individual})
            case "Split" if step.text("behavior", "") != "Removed":
                made.append(dict(step.values))
            case _:
                raise step.error("type", "ByteLevel, Digits or Split in the pre_tokenizer")
    if whole.text("type", "") != "Sequence":
        return made[0]
    return {"type": "Sequence", "pretokenizers": made}


def _steps(whole: Fields, several: str) -> list[Fields]:
    """The steps of a Sequence; of anything else, itself."""
    if not whole.values:
        return []
    return list(whole.objects(several)) if whole.text("type", "") == "Sequence" else [whole]


def _boundaries(content: Fields, pieces: Mapping[int, str]) -> list[int]:
    """The ids of the marks that a template names, that in front of a text first."""
    for step in _steps(content.object("post_processor"), "processors"):
        if step.text("type", "") != _TEMPLATE:
            continue
        parts = [part.object("SpecialToken") for part in step.objects("single")]
        named = [part.text("id") for part in parts if part.has("id")]
        known = step.object("special_tokens")
        ids = {piece: token for token, piece in pieces.items()}
        return [ids[name] for name in dict.fromkeys([*named, *known.values]) if name in ids]
    return []


def _merge(model: Fields, merge: Any) -> tuple[str, str]:
    """The two pieces that a merge joins; newer files store a pair, older ones a string."""
    pair = merge.split(" ") if isinstance(merge, str) else merge
    if not (isinstance(pair, list) and len(pair) == 2 and all(isinstance(p, str) for p in pair)):
        raise model.error("merges", "pairs of pieces")
    return pair[0], pair[1]
