"""What the study measures of a trained arm: where its bits go, and where its stories lead."""

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from study_arms import Arm, sequences

from mlx_rev import backend, files
from mlx_rev.config import SampleConfig
from mlx_rev.generate.decode import write_stories
from mlx_rev.generate.evaluate import MODEL, REAL, Figure, Yardstick, held_out, measure_rows
from mlx_rev.generate.judge import load_judge
from mlx_rev.generate.measures import EndedStory, is_content_word, known_names
from mlx_rev.generate.methods import tell
from mlx_rev.generate.story import Story
from mlx_rev.generate.teller import Teller
from mlx_rev.model.llama import Llama
from mlx_rev.model.load import Loaded
from mlx_rev.model.score import token_nats
from mlx_rev.text.codec import StoryCodec
from mlx_rev.text.sentences import last_sentences

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
    kept: Path,
) -> dict[str, list[float]]:
    """What `mlx-rev evaluate` measures of stories told from the endings of held-out ones: mean and
    interval by the measure's key, of the arm and (under `real `) of the real stories. The latter
    are the same for all arms: what is measured of them once stays in the folder `kept`."""
    real = held_out(stories, count)
    endings = [story.ending for story in real]
    reader = load_judge(str(judge[0]), judge[1])
    if arm.prompt is None:
        teller = Teller(Loaded(model, codec))
        told: Sequence[EndedStory] = tell(teller, endings, SampleConfig(), lambda share: None)
    else:
        told = _tell_forwards(arm, model, codec, endings)
    yardstick = Yardstick(real=real, names=known_names([*stories, *endings]), judges=(reader,))
    figures = measure_rows({MODEL: told}, yardstick, references=False)[1][MODEL]
    return _estimates(figures, "") | _of_real(yardstick, judge, kept)


def _of_real(yardstick: Yardstick, judge: tuple[Path, Path], kept: Path) -> dict[str, list[float]]:
    """What is measured of the real stories, now or once before with the same judge."""
    given = repr((yardstick.real, sorted(yardstick.names))).encode()
    key = hashlib.sha256(b"".join([given, *(path.read_bytes() for path in judge)])).hexdigest()
    path = kept / f"real-{key[:16]}.json"
    if not path.exists():
        figures = measure_rows({}, yardstick, references=True)[1][REAL]
        files.write_text(path, json.dumps(_estimates(figures, "real ")) + "\n")
    found: dict[str, list[float]] = json.loads(path.read_text())
    return found


def _estimates(figures: Mapping[str, Figure], prefix: str) -> dict[str, list[float]]:
    estimates = {prefix + key: figure.estimate for key, figure in figures.items()}
    return {
        key: [round(value, 4) for value in (own.mean, own.low, own.high)]
        for key, own in estimates.items()
    }


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
    body = text[: len(text) - len(last_sentences(text))].rstrip()
    return EndedStory(f"{body} {ending}", ending, whole)
