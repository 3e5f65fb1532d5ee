"""`mlx-rev score`: how well models predict a text, or a corpus."""

import dataclasses
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from rich.text import Text

from mlx_rev import backend, files
from mlx_rev.cli.flags import parse
from mlx_rev.cli.options import (
    SAMPLING,
    ModelChoice,
    cache_folder,
    options_of_run,
    sample_settings,
    say_not_reversed,
)
from mlx_rev.config import ReversalMode, SampleConfig, validate
from mlx_rev.config_file import read_toml
from mlx_rev.data import bundled
from mlx_rev.data.corpus import open_corpus
from mlx_rev.data.sources.names import BUNDLED, sources_in
from mlx_rev.data.sources.standard_input import naming_standard_input, said
from mlx_rev.data.sources.story_files import SUFFIXES, notices, read_stories
from mlx_rev.errors import ConfigError
from mlx_rev.files import naming_cache
from mlx_rev.formats.detect import open_model
from mlx_rev.generate import bootstrap
from mlx_rev.generate.bootstrap import Estimate
from mlx_rev.generate.consistency import Consistency, consistency
from mlx_rev.generate.scoring import (
    ScoredText,
    Sentence,
    by_sentence,
    score_encoded,
    total,
)
from mlx_rev.generate.teller import Teller
from mlx_rev.model.load import Loaded, load_model
from mlx_rev.model.score import Score
from mlx_rev.text.order import order_named
from mlx_rev.text.tokenizer import Tokenizer
from mlx_rev.ui.bars import Bars
from mlx_rev.ui.console import beside, is_interactive, make_console
from mlx_rev.ui.visible import one_line, write_story

_AS_TEXT = Path("-")
ENDINGS = 100
_MOST_MODELS = 2
_LONG = 200_000
"""Without a progress bar, a line announces the scoring of more tokens than this."""
_WIDTH = 11
"""Of a column of figures."""


@dataclass(frozen=True, kw_only=True)
class ScoreCommand:
    """Score a text or a corpus: bits per byte (lower is better), comparable between any two models.

    A text is shown sentence by sentence. With a second model: both, and the difference. A run that
    was trained on the bundled stories is also given 100 of their endings, and the stories it tells
    are judged: do who, what and where agree from the ending to the beginning?
    """

    text: Annotated[
        str | None,
        tyro.conf.Positional,
        tyro.conf.arg(metavar="TEXT|FILE", help_behavior_hint=""),
    ] = None
    """A text, in quotes; or a .txt, .json or .jsonl file of stories, a folder of them, a glob, or
    bundled. By default the stories that a run's own corpus holds out."""
    model: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Run, checkpoint, model folder, .bin, .gguf or hf:owner/repo[/file]; by default stories9m. May
    be given twice, to compare two."""
    tokenizer: Path | None = None
    """A SentencePiece .model, tokenizer.bin or tokenizer.json, if a model comes without one."""
    reversal: ReversalMode | None = None
    """How a model's text is reversed, if its file does not say; with a single model it overrides
    what the file says."""
    count: int = 0
    """Score only this many stories, the first ones; 0 scores all."""
    endings: int | None = None
    """How many bundled endings to tell stories from, which are then judged by the rules of those
    stories; by default 100 for a run that was trained on them and is scored on its own corpus or on
    bundled, otherwise none."""
    field: str | None = None
    """Key of the text in a JSON object; by default "story" or "text"."""
    json: Path | None = None
    """Write all figures, story by story and sentence by sentence, to this .json file; - is standard
    output."""
    sample: Annotated[SampleConfig, SAMPLING] = dataclasses.field(default_factory=SampleConfig)


@dataclass(frozen=True)
class _Scores:
    """What one model says of the texts."""

    name: str
    loaded: Loaded
    scored: list[ScoredText]
    score: Score
    settings: SampleConfig
    """How stories are told with it."""
    judged: Consistency | None = None
    """How the stories that it tells hold together, if that was asked for."""

    def sentences(self, texts: Sequence[str]) -> list[list[Sentence]]:
        """Those of each text."""
        codec = self.loaded.codec
        return [by_sentence(codec, text, own) for text, own in zip(texts, self.scored, strict=True)]


def main(arguments: Sequence[str], program: str) -> int:
    """Print the figures or, if asked for, JSON. Raises RevError."""
    command = parse(ScoreCommand, arguments, program)
    _check(command)
    models = _both_ways([_load(command, name) for name in command.model or (None,)])
    given, stories = _given(command, _strictest([loaded for _, loaded in models]))
    corpus = stories is not None
    texts = [given] if stories is None else stories
    scores = []
    for number, (name, loaded) in enumerate(models):
        own = sample_settings(command, arguments, program, loaded.settings)
        endings = _endings(command, number) if loaded.codec.order.grows_leftwards else 0
        scores.append(_scored(name, loaded, texts, own, endings))
    difference = _difference(scores, texts) if len(scores) > 1 else None
    if command.json is not None:
        _write_json(command.json, _as_json(scores, texts, difference))
    if command.json != _AS_TEXT:
        kind = "stories" if corpus else "text"
        _show(scores, texts, difference, kind)
    return 0


def _check(command: ScoreCommand) -> None:
    """Raise ConfigError for what cannot be scored."""
    validate(command.sample)
    if command.count < 0 or (command.endings is not None and command.endings < 1):
        raise ConfigError("--count must be 0 or more, and --endings 1 or more")
    if len(command.model) > _MOST_MODELS:
        raise ConfigError(f"--model was given {len(command.model)} times, expected 1 or 2")
    if command.json is not None and command.json != _AS_TEXT:
        if command.json.suffix.lower() != ".json":
            raise ConfigError(f"--json {command.json}: expected a name that ends in .json")
        if command.json.is_dir():
            raise ConfigError(f"--json {command.json}: is a folder, expected a file")
    if not (command.text or "").strip() and _own_corpus(command) is None:
        raise ConfigError(
            'nothing to score; give a text, such as "They all lived happily ever after.", a file '
            "or folder of stories, or bundled"
        )


def _own_corpus(command: ScoreCommand) -> Path | None:
    """The options of the run whose own corpus is scored; None where a text is given."""
    if command.text is not None or not command.model:
        return None
    return options_of_run(Path(command.model[0]))


def _strictest(models: Sequence[Loaded]) -> Tokenizer:
    """The tokenizer that says which texts cannot be read: one that refuses characters, if any."""
    known = [loaded.codec.tokenizer for loaded in models]
    return next((one for one in known if one.refused), known[0])


def _given(command: ScoreCommand, tokenizer: Tokenizer) -> tuple[str, list[str] | None]:
    """What is to be scored, and its stories where it names a corpus. Raises DataError."""
    run = _own_corpus(command)
    if run is not None:
        data, cache = read_toml(run).data, cache_folder()
        with naming_cache(cache), naming_standard_input(cache):
            found = open_corpus(data, cache, tokenizer=tokenizer)
            for line in (f"{data.valid or data.data}, held-out stories", *found.notices):
                _note(said(line, cache))
            return data.data, _first(command, found.valid())
    given = command.text or ""
    if not _is_corpus(given):
        return given, None
    return given, _first(command, _source(given, command.field, tokenizer))


def _first(command: ScoreCommand, stories: Iterable[str]) -> list[str]:
    return list(islice(stories, command.count or None))


def _note(line: str) -> None:
    sys.stderr.write(f"mlx-rev score: {one_line(line)}\n")


def _endings(command: ScoreCommand, number: int) -> int:
    """How many endings of bundled stories a model, by its number, is given. Its stories are judged
    by the rules of the bundled ones, so without being asked only what learnt from those is, where
    it is scored on them or on its own corpus."""
    if command.endings is not None:
        return command.endings
    if command.text not in (None, BUNDLED):
        return 0
    run = options_of_run(Path(command.model[number])) if command.model[number:] else None
    names = {named.name for named in sources_in(read_toml(run).data.data)} if run else set()
    return ENDINGS if BUNDLED in names else 0


def _is_corpus(given: str) -> bool:
    """Whether it names a corpus rather than being the text itself."""
    is_path = not any(map(str.isspace, given)) and any(mark in given for mark in "/*[")
    named = is_path or given.lower().endswith(SUFFIXES)
    return given == BUNDLED or named or os.path.exists(given)  # noqa: PTH110, Path's may raise


def _source(stories: str, field: str | None, tokenizer: Tokenizer) -> Iterator[str]:
    if stories == BUNDLED:
        return (story.text for story in bundled.stories("valid"))
    for notice in notices(stories):
        _note(notice)
    return read_stories(stories, field, tokenizer)


def _load(command: ScoreCommand, name: str | None) -> tuple[str, Loaded]:
    """A model and what to call it. Of two, each takes what its own file does not say."""
    choice = ModelChoice(model=name, tokenizer=command.tokenizer, reversal=command.reversal)
    if len(command.model) < _MOST_MODELS or name is None:
        return choice.reference, choice.load()
    opened = open_model(name)
    loaded = load_model(
        name,
        tokenizer=command.tokenizer if opened.tokenizer is None else None,
        order=order_named(command.reversal) if command.reversal and not opened.order else None,
        ops=backend.choose().ops,
    )
    if not loaded.says_reversal:
        say_not_reversed(name)
    return name, loaded


def _both_ways(models: list[tuple[str, Loaded]]) -> list[tuple[str, Loaded]]:
    """The models; if there is only one and it reads in two directions, it is two."""
    (name, loaded), *others = models
    opposite = loaded.codec.opposite
    if others or opposite is None:
        return models
    forwards = dataclasses.replace(loaded, codec=opposite)
    return [(f"{name} backwards", loaded), (f"{name} forwards", forwards)]


def _scored(
    name: str, loaded: Loaded, texts: Sequence[str], settings: SampleConfig, endings: int
) -> _Scores:
    """The scores of all texts, and of the stories told from so many endings; if that takes a while,
    standard error shows the progress."""
    encoded = loaded.codec.enclosed(texts)
    tokens = sum(len(ids) - 1 for ids in encoded)
    console = make_console(stderr=True)
    live = is_interactive(console)
    if not live and tokens > _LONG:
        console.print(f"scoring {tokens:,} tokens", soft_wrap=True)
    with Bars(console, shown=live) as shown:
        task = shown.add_task("scoring", total=tokens)
        scored = score_encoded(loaded.model, encoded, lambda more: shown.advance(task, more))
        judged = None
        if endings:
            telling = shown.add_task(f"telling {endings} stories", total=1.0)
            judged = consistency(
                *(Teller(loaded), endings, settings),
                lambda share: shown.update(telling, completed=share),
            )
    return _Scores(name, loaded, scored, total(scored, texts), settings, judged)


def _difference(scores: Sequence[_Scores], texts: Sequence[str]) -> Estimate:
    """The first model's bits per byte less the second's, with an interval over the texts."""
    size = np.array([len(text.encode()) for text in texts], float)
    first, second = (np.array([text.bits for text in one.scored]) / size for one in scores)
    drawn = bootstrap.resamples(len(texts), 0)
    return bootstrap.difference((first, size), (second, size), drawn)


def _show(
    scores: Sequence[_Scores],
    texts: Sequence[str],
    difference: Estimate | None,
    kind: str,
) -> None:
    for one in scores:
        named = f"{one_line(one.name)}: " if len(scores) > 1 else ""
        counted = f"{len(texts)} {kind}, " if kind == "stories" else ""
        _write(
            f"{named}{counted}{one.score.text_bytes} bytes, {one.score.tokens} tokens: "
            f"{one.score.nats_per_token:.4f} nats per token, "
            f"{one.score.bits_per_byte:.4f} bits per byte"
        )
        if one.judged is not None:
            _show_consistency(one.judged, one.settings.temperature)
    if difference is not None:
        interval = f" [{difference.low:+.4f}, {difference.high:+.4f}]" if len(texts) > 1 else ""
        _write(f"difference: {difference.mean:+.4f} bits per byte{interval}")
    if kind == "text":
        _show_sentences(scores, texts)


def _show_consistency(judged: Consistency, temperature: float) -> None:
    _write(
        f"{judged.consistent} of {judged.stories} stories told from held-out endings are "
        f"consistent (temperature {temperature})"
    )
    for _, fault in judged.faults[:5]:
        _write(fault, "    ")


def _show_sentences(scores: Sequence[_Scores], texts: Sequence[str]) -> None:
    """A line for each sentence of the one text: bits per byte, then the sentence."""
    heads = ["bits/byte"] if len(scores) == 1 else ["first", "second", "difference"]
    sys.stdout.write("\n" + "".join(f"{head:>{_WIDTH}}" for head in heads) + "\n")
    for sentence in zip(*(one.sentences(texts)[0] for one in scores), strict=True):
        figures = [own.bits_per_byte for own in sentence]
        cells = [f"{figure:{_WIDTH}.3f}" for figure in figures]
        if len(figures) > 1:
            cells.append(f"{figures[0] - figures[1]:+{_WIDTH}.3f}")
        _write(one_line(sentence[0].text.strip()), "".join(cells) + "  ")


def _write(text: str, head: str = "") -> None:
    """Write a line; in a terminal it is wrapped at words, to the right of `head`."""
    console = make_console()
    if console.is_terminal:
        beside(console, Text(head), text)
    else:
        write_story(sys.stdout, f"{head}{text}\n")


def _as_json(
    scores: Sequence[_Scores], texts: Sequence[str], difference: Estimate | None
) -> dict[str, Any]:
    by_model = [one.sentences(texts) for one in scores]
    stories = [
        {
            "text": text,
            "bits": [one.scored[place].bits for one in scores],
            "sentences": [
                {"text": own[0].text, "bits": [sentence.bits for sentence in own]}
                for own in zip(*(found[place] for found in by_model), strict=True)
            ],
        }
        for place, text in enumerate(texts)
    ]
    models = [
        {
            "model": one.name,
            "reversal": one.loaded.codec.order.name,
            "bytes": one.score.text_bytes,
            "tokens": one.score.tokens,
            "nats_per_token": one.score.nats_per_token,
            "bits_per_byte": one.score.bits_per_byte,
            **({"consistent": one.judged.share} if one.judged else {}),
        }
        for one in scores
    ]
    between = {"difference": vars(difference)} if difference else {}
    return {"models": models, **between, "stories": stories}


def _write_json(path: Path, content: dict[str, Any]) -> None:
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    if path == _AS_TEXT:
        sys.stdout.write(text)
    else:
        files.write_text(path, text)
