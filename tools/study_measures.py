"""What the study measures of a trained arm: where its bits go, and where its stories lead."""

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from study_arms import Arm, sequences

from mlx_rev import backend
from mlx_rev.config import SampleConfig
from mlx_rev.generate.decode import write_stories
from mlx_rev.generate.evaluate import MODEL, Yardstick, held_out, measure
from mlx_rev.generate.judge import load_judge
from mlx_rev.generate.measures import EndedStory, is_content_word, known_names
from mlx_rev.generate.methods import tell
from mlx_rev.generate.story import Story
from mlx_rev.generate.teller import Teller
from mlx_rev.model.llama import Llama
from mlx_rev.model.load import Loaded
from mlx_rev.model.score import token_nats
from mlx_rev.text.codec import StoryCodec

_BITS = 1 / np.log(2)
_WORD = re.compile(r"[\w']+|[^\w\s]|\s+")
POSITIONS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
"""Where the bins of a token's place in its story begin, the first token having place 1."""
_TOLD_AT_ONCE = 25

Bits = dict[str, list[float]]
"""Bits, bytes and tokens by group."""


def bits_of(arm: Arm, model: Llama, codec: StoryCodec, stories: Sequence[str]) -> dict[str, Any]:
    """Bits of each story; and bits, bytes and tokens by place, by the class of the word, and by
    whether a token begins with a space."""
    ids = sequences(arm, codec, stories)
    nats = token_nats(model, ids)
    found = {"stories": [round(float(row.sum()) * _BITS, 2) for row in nats]}
    if arm.encode is None:
        found |= _where(codec, stories, ids, nats)
    return found


def _where(
    codec: StoryCodec, stories: Sequence[str], ids: list[np.ndarray], nats: list[np.ndarray]
) -> dict[str, Any]:
    names = known_names(stories)
    by_place, by_class, by_form = (_groups() for _ in range(3))
    for story, own, row in zip(stories, ids, nats, strict=True):
        tokens, order = own[1:-1].tolist(), codec.order
        places = order.restore_ids(list(range(1, len(tokens) + 1)))
        bits = order.restore_ids((row[:-1] * _BITS).tolist())
        pieces = [codec.tokenizer.piece_bytes[token] for token in order.restore_ids(tokens)]
        text = order.reverse(story)
        if pieces and pieces[0].startswith(b" ") and not text.startswith(" "):
            pieces[0] = pieces[0][1:]
        kinds = classes(text, pieces, names)
        for place, surprise, piece, kind in zip(places, bits, pieces, kinds, strict=True):
            bin_of_place = POSITIONS[int(np.searchsorted(POSITIONS, place, side="right")) - 1]
            for group, key in (
                (by_place, str(bin_of_place)),
                (by_class, kind),
                (by_form, "space in front" if piece.startswith(b" ") else "none in front"),
            ):
                group[key] += np.array([surprise, len(piece), 1.0])
    return {"place": _plain(by_place), "class": _plain(by_class), "form": _plain(by_form)}


def _groups() -> dict[str, np.ndarray]:
    return defaultdict(lambda: np.zeros(3))


def _plain(groups: dict[str, np.ndarray]) -> Bits:
    return {key: [round(float(value), 2) for value in values] for key, values in groups.items()}


def classes(text: str, pieces: Sequence[bytes], names: frozenset[str]) -> list[str]:
    """For each piece of a text the class of the word that it begins in, or else continues."""
    kind_at: list[str] = []
    for match in _WORD.finditer(text):
        kind_at += [_class(match[0], names)] * len(match[0].encode())
    found, place = [], 0
    for piece in pieces:
        inside = place + len(piece) - len(piece.lstrip())
        found.append(kind_at[min(inside, len(kind_at) - 1)] if kind_at else "space")
        place += len(piece)
    return found


def _class(word: str, names: frozenset[str]) -> str:
    if word.isspace():
        return "space"
    if not re.match(r"\w", word):
        return "punctuation"
    if word in names:
        return "name"
    return "content word" if is_content_word(word.lower()) else "function word"


def leads_to_endings(
    arm: Arm,
    model: Llama,
    codec: StoryCodec,
    stories: Sequence[str],
    count: int,
    judge: tuple[Path, Path],
) -> dict[str, list[float]]:
    """What `mlx-rev evaluate` measures of stories told from the endings of held-out ones: mean and
    interval by the measure's key, of the arm and (under `real `) of the real stories."""
    real = held_out(stories, count)
    endings = [story.ending for story in real]
    reader = load_judge(str(judge[0]), judge[1])
    if arm.prompt is None:
        teller = Teller(Loaded(model, codec))
        told: Sequence[EndedStory] = tell(teller, endings, SampleConfig(), lambda share: None)
    else:
        told = _tell_forwards(arm, model, codec, endings)
    yardstick = Yardstick(real=real, names=known_names([*stories, *endings]), judges=(reader,))
    done = measure(told, yardstick)
    found = {}
    for row, prefix in ((MODEL, ""), ("real", "real ")):
        for key, figure in done.rows[row].items():
            estimate = figure.estimate
            values = (estimate.mean, estimate.low, estimate.high)
            found[prefix + key] = [round(value, 4) for value in values]
    return found


def _tell_forwards(
    arm: Arm, model: Llama, codec: StoryCodec, endings: Sequence[str]
) -> list[EndedStory]:
    """A story for each ending by a forward model that is shown the ending first."""
    prompt: Callable[[StoryCodec, str], tuple[int, ...]] | None = arm.prompt
    if prompt is None:
        return []
    reader, told = backend.choose().reader(model), []
    for start in range(0, len(endings), _TOLD_AT_ONCE):
        part = endings[start : start + _TOLD_AT_ONCE]
        stories = [
            Story(
                prompt="",
                spelling=prompt(codec, ending),
                leftwards=False,
                growth=codec.growth("", (codec.boundary,)),
                seed=start + number,
            )
            for number, ending in enumerate(part)
        ]
        for _ in write_stories(model, codec, stories, SampleConfig(), reader):
            pass
        told += [_ended(arm, *pair) for pair in zip(stories, part, strict=True)]
    return told


def _ended(arm: Arm, story: Story, ending: str) -> EndedStory:
    """The story with the ending that it was to have, which a forward model need not have kept to:
    its last sentence is then replaced, so that all arms are judged by how they lead there."""
    text, whole = story.text.strip(), story.finished == "boundary"
    if not arm.writes_ending:
        return EndedStory(f"{text} {ending}", ending, whole)
    if text.endswith(ending):
        return EndedStory(text, ending, whole)
    from mlx_rev.text.sentences import last_sentences

    body = text[: len(text) - len(last_sentences(text))].rstrip()
    return EndedStory(f"{body} {ending}", ending, whole)
