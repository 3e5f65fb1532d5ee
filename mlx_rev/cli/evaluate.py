"""`mlx-rev evaluate`: what the stories of a model are worth, beside real ones."""

import codecs
import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Annotated, Any

import tyro

from mlx_rev import files
from mlx_rev.cli.flags import parse
from mlx_rev.cli.options import (
    SAMPLING,
    ModelChoice,
    cache_folder,
    options_of_run,
    sample_settings,
    with_standard_input,
)
from mlx_rev.cli.outputs import check_outputs, is_standard_output, write_json
from mlx_rev.config import DataConfig, ReversalMode, SampleConfig, validate
from mlx_rev.config_file import read_toml
from mlx_rev.data import bundled
from mlx_rev.data.corpus import Stories, open_corpus
from mlx_rev.data.sources.names import is_downloaded
from mlx_rev.data.sources.standard_input import naming_standard_input, said
from mlx_rev.data.sources.story_files import read_stories, story_files
from mlx_rev.errors import ConfigError, DataError
from mlx_rev.estimate import check_telling_fits
from mlx_rev.files import naming_cache
from mlx_rev.generate import retrieval
from mlx_rev.generate.evaluate import Yardstick, evaluate, held_out
from mlx_rev.generate.judge import Judge, ModelJudge, load_judge
from mlx_rev.generate.measures import known_names
from mlx_rev.generate.methods import told_at_once
from mlx_rev.generate.rerank import check_towards
from mlx_rev.generate.teller import Teller
from mlx_rev.text.order import BACKWARD_NAMES
from mlx_rev.text.tokenizer import Tokenizer
from mlx_rev.ui import evaluation
from mlx_rev.ui.console import make_console, say
from mlx_rev.ui.visible import one_line

_MOST_STORIES = 5000
"""Held-out stories that are read; names are known from them."""


@dataclass(frozen=True, kw_only=True)
class EvaluateCommand:
    """Tell one story for each of many endings, and measure them beside real stories.

    With a judge: can it tell which ending belongs to a story, and how likely does it find the
    story? Without one: the faults that a reader sees. The table has real stories as the ceiling,
    real stories that each have the ending of another, as misfits, and what chance gives.
    """

    model: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="[MODEL]")] = None
    """Run, checkpoint, model folder, .bin, .gguf or hf:owner/repo[/file]; by default stories9m."""
    judge: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """A model that had no part in the stories, of any kind above or one that mlx-lm loads; may be
    given several times. The first that reads forwards matches stories with endings."""
    judge_tokenizer: Path | None = None
    """Tokenizer of the judges that come without one."""
    count: int = 100
    """Endings, and so stories. A forward judge reads each ending after each story."""
    best_of: int = 1
    """Also tell so many other stories for each ending, choose the best as tell --best-of does, and
    measure those: a row of their own."""
    chooser: str | None = None
    """A model that reads forwards, to choose with; it should be none of the judges. Its tokenizer,
    if it comes without one, is that of the judges."""
    endings: Path | None = None
    """File of endings, one a line; by default held-out stories give theirs."""
    data: str | None = None
    """Corpus whose held-out stories are taken; by default the run's own, or bundled."""
    valid: str | None = None
    """Path of held-out stories to use instead."""
    field: str | None = None
    """Where a JSON object has its text; by default "story" or "text"."""
    train_text: str | None = None
    """What the model was trained on (bundled or a path): to count words that are not in it and
    what is copied from it; by default known of a training run only."""
    json: Path | None = None
    """Write everything, story by story, to this .json file; - is standard output."""
    plot: Path | None = None
    """Draw the figures into this .png file."""
    plain: bool = False
    """No colours, no progress bar."""
    cache: Path = dataclasses.field(default_factory=cache_folder)
    """Where corpora are kept."""
    tokenizer: Path | None = None
    """A SentencePiece .model, tokenizer.bin or tokenizer.json, if the model comes without one."""
    reversal: ReversalMode | None = None
    """How the model's text is reversed, if its file does not say."""
    sample: Annotated[SampleConfig, SAMPLING] = dataclasses.field(default_factory=SampleConfig)


@dataclass(frozen=True)
class _Sources:
    """Where stories come from."""

    name: str
    held_out: Iterable[str]
    training_name: str | None
    training: Stories | None
    notices: tuple[str, ...] = ()


def main(arguments: Sequence[str], program: str) -> int:
    """Print the table, or JSON, and write the files asked for. Raises RevError."""
    command = parse(EvaluateCommand, arguments, program)
    _check(command)
    choice = ModelChoice(
        model=command.model, tokenizer=command.tokenizer, reversal=command.reversal
    )
    loaded = choice.load()
    settings = sample_settings(command, arguments, program, loaded.settings)
    if not loaded.codec.order.grows_leftwards:
        raise ConfigError(
            f"{choice.reference}: a forward model takes no endings; evaluate a backward one, or "
            f"say with --reversal {BACKWARD_NAMES} that it is one"
        )
    for stories_each, option in ((1, "--count"), (command.best_of, "--best-of")):
        at_once = told_at_once(command.count, stories_each)
        check_telling_fits(loaded.model.config, at_once, option)
    console = make_console(stderr=True, plain=command.plain)
    with naming_cache(command.cache), naming_standard_input(command.cache):
        sources = _sources(command, choice.reference, loaded.codec.tokenizer)
        stories = list(islice(sources.held_out, _MOST_STORIES))
    real = held_out(stories, command.count)
    if len(real) < retrieval.FEWEST:
        raise DataError(
            f"{sources.name}: has {len(real)} held-out stories that end differently and begin "
            f"before their ending, expected {retrieval.FEWEST} or more; give --valid PATH"
        )
    given = [story.ending for story in real]
    if command.endings is not None:
        given = _read_endings(command.endings, loaded.codec.tokenizer)
    # Of more endings each is harder to tell: the rows have as many, or they could not be compared.
    count, said = min(command.count, len(given), len(real)), list(sources.notices)
    fewest = sources.name if count == len(real) else command.endings
    if count < command.count:
        said.append(f"{fewest} has {count} different endings, so --count is {count}")
    endings, real = given[:count], real[:count]
    judges = tuple(load_judge(name, command.judge_tokenizer) for name in command.judge)
    teller = Teller(loaded)
    chooser = _chooser(command, teller)
    for notice in (*said, *_remarks(judges, sources)):
        say(console, f"note: {one_line(notice)}")
    names = known_names(chain(stories, endings))
    yardstick = Yardstick(real=real, names=names, judges=judges, training=sources.training)
    with evaluation.bar(console) as progress:
        done = evaluate(
            teller,
            endings,
            yardstick,
            settings,
            progress,
            best_of=command.best_of,
            chooser=chooser,
        )
    model = command.model or Path(choice.reference).name
    title = f"{model}, {len(endings)} endings of {Path(command.endings or sources.name).name}"
    if command.json is not None:
        about = _about(command, model, sources, len(endings), settings)
        write_json(command.json, evaluation.as_json(done, about))
    if command.plot is not None:
        evaluation.picture(done, title, command.plot)
    if not is_standard_output(command.json):
        evaluation.show(done, title, make_console(plain=command.plain))
    return 0


def _chooser(command: EvaluateCommand, teller: Teller) -> Judge | None:
    """Who chooses the best of several stories, where several are told."""
    if command.best_of == 1:
        return None
    if command.chooser is None:
        return teller.judge()
    chooser = load_judge(command.chooser, command.judge_tokenizer)
    check_towards(chooser, teller.codec)
    return chooser


def _check(command: EvaluateCommand) -> None:
    """Raise ConfigError for what cannot be, before anything is computed."""
    validate(command.sample)
    if command.count < retrieval.FEWEST:
        raise ConfigError(f"--count {command.count}: expected {retrieval.FEWEST} or more")
    if command.best_of < 1:
        raise ConfigError(f"--best-of {command.best_of}: expected 1 or more")
    if command.chooser is not None and command.best_of == 1:
        raise ConfigError(f"--chooser {command.chooser}: chooses among stories; give --best-of too")
    check_outputs(command.json, command.plot)


def _sources(command: EvaluateCommand, model: str, tokenizer: Tokenizer) -> _Sources:
    """Where held-out stories and, if that is known, the training text come from."""
    run = options_of_run(Path(model)) if command.data is None else None
    given = DataConfig(data=command.data or "bundled")
    data = read_toml(run).data if run else with_standard_input(given, command.cache)
    valid, field = command.valid or data.valid, command.field or data.field
    # Gigabytes from the hub are read only when someone asks for that.
    has_training = run is not None and not is_downloaded(data.data)
    # With stories of one's own, a corpus that nothing is taken from need not be there.
    named = data.data if has_training or valid is None else "bundled"
    corpus = open_corpus(
        dataclasses.replace(data, data=named, valid=valid, field=field),
        command.cache,
        tokenizer=tokenizer,
    )
    training: Stories | None = corpus.train if has_training else None
    training_name = data.data if has_training else None
    if command.train_text is not None:
        training = _training(command.train_text, command.field, tokenizer)
        training_name = command.train_text
    name, *notices = (said(text, command.cache) for text in (valid or data.data, *corpus.notices))
    return _Sources(name, corpus.valid(), training_name, training, tuple(notices))


def _training(named: str, field: str | None, tokenizer: Tokenizer) -> Stories:
    """The training text that was named. Raises DataError where it is not there."""
    if named == "bundled":
        return lambda: (story.text for story in bundled.stories("train"))
    story_files(named)
    return lambda: read_stories(named, field, tokenizer)


def _read_endings(path: Path, tokenizer: Tokenizer) -> list[str]:
    """The different endings of a file, one a line. Raises DataError."""
    try:
        text = codecs.decode(files.read_bytes(path), "utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: byte {error.start} is not UTF-8; convert it with iconv"
        ) from error
    endings: dict[str, None] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            tokenizer.check(line)
        except DataError as error:
            raise DataError(f"{path}: line {number}: {error}") from error
        if line.strip():
            endings.setdefault(line.strip())
    if len(endings) < retrieval.FEWEST:
        raise DataError(
            f"{path}: has {len(endings)} different endings, expected {retrieval.FEWEST} or more, "
            "one a line"
        )
    return list(endings)


def _remarks(judges: Sequence[ModelJudge], sources: _Sources) -> list[str]:
    """What is guessed of judges, and what is not measured, with what would have to be given."""
    said = [
        f"{judge.name} does not say how its text is reversed; as a judge it is taken to read "
        "forwards"
        for judge in judges
        if not judge.says_reversal
    ]
    if not judges:
        said.append(
            "without --judge MODEL, one that reads forwards, neither likelihood nor how well "
            "stories lead to their endings is measured; hf:HuggingFaceTB/SmolLM2-135M is one"
        )
    elif not any(judge.forward for judge in judges):
        said.append(
            "no judge reads forwards, so how well stories lead to their endings is not measured"
        )
    if sources.training is None:
        said.append(
            "without --train-text, neither words that the model was not trained on nor copying is "
            "measured"
        )
    return said


def _about(
    command: EvaluateCommand, model: str, sources: _Sources, count: int, settings: SampleConfig
) -> dict[str, Any]:
    return {
        "model": model,
        "judges": list(command.judge),
        "endings": count,
        "endings_of": str(command.endings or sources.name),
        "real_stories_of": sources.name,
        "training_text": sources.training_name,
        "settings": dataclasses.asdict(settings),
        **({"best_of": command.best_of, "chooser": command.chooser} if command.best_of > 1 else {}),
    }
