"""Where stories come from: which are trained on, and which are held out."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from mlx_rev.config import DataConfig
from mlx_rev.data.progress import TellStage
from mlx_rev.data.sources import duplicates
from mlx_rev.data.sources.names import sources_in
from mlx_rev.data.sources.opening import Source, open_source, sha256
from mlx_rev.data.sources.part import SOURCE_BIT, Part, Stream
from mlx_rev.data.sources.problems import Problems
from mlx_rev.data.sources.refining import Refining
from mlx_rev.text.sentencepiece import SPACE_MARK
from mlx_rev.text.tokenizer import Tokenizer

Stories = Callable[[], Iterator[str]]
"""Iterates over the stories from the start, each time it is called."""


@dataclass(frozen=True)
class Corpus:
    """Stories to train on and stories held out."""

    name: str
    fingerprint: str
    """sha256 of what determines the stories and which of them are held out."""
    train: Part
    valid: Part
    notices: tuple[str, ...] = ()
    """What a person should know about how the stories are read, a line each."""
    problems: Problems = field(default_factory=Problems)
    """What was left out so far."""


def open_corpus(
    config: DataConfig,
    cache: Path,
    progress: TellStage | None = None,
    tokenizer: Tokenizer | None = None,
) -> Corpus:
    """The corpus that `config` names: `data` and, where it is given, `valid`. Stories that
    `tokenizer`, by default one that is yet to be learnt, cannot take count as what cannot be read.

    Without `valid`, a share `valid_share` of the stories is held out by a hash of their text, the
    same ones whatever their order; a source with held-out stories of its own keeps those. What is
    downloaded or has to be looked for is kept in `cache`. Raises DataError.
    """
    tell = progress or (lambda what, share: None)
    problems = Problems(skip=config.on_error == "skip", tokenizer=tokenizer)
    refining = Refining(
        min_chars=config.min_chars,
        max_chars=config.max_chars,
        limit=config.limit,
        repair=config.repair,
    )

    def opened(data: str) -> list[Source]:
        return [
            open_source(named, config.field, cache, problems, tell) for named in sources_in(data)
        ]

    sources = opened(config.data)
    share = 0.0 if config.valid is not None else config.valid_share
    train = Part(config.data, _to_train(sources, share), refining, problems)
    fingerprint = _fingerprint(sources, config, refining)
    notices = [notice for source in sources for notice in source.notices]
    if config.deduplicate:
        train, notice = _without_repeated(train, fingerprint, cache, tell)
        notices += notice
    if config.valid is None:
        repeated = _among_training(train.repeated, sources)
        valid = replace(train, streams=_held_out(sources, share), repeated=repeated)
    else:
        others = opened(config.valid)
        valid = Part(config.valid, _held_out(others, 0.0), refining, problems)
        fingerprint = sha256(fingerprint, *(part for one in others for part in one.described))
        notices += [notice for source in others for notice in source.notices]
    name = ", ".join(Path(source.name).name for source in sources)
    return Corpus(name, fingerprint, train, valid, tuple(notices), problems)


def _to_train(sources: list[Source], share: float) -> tuple[Stream, ...]:
    return tuple(
        Stream(
            name=source.name,
            files=source.train,
            weight=source.weight,
            share=share if source.valid is None else 0.0,
        )
        for source in sources
    )


def _held_out(sources: list[Source], share: float) -> tuple[Stream, ...]:
    """Each once, whatever its weight; with a share of 0, all of a source without its own."""
    return tuple(
        Stream(name=source.name, files=source.train, share=share, held_out=share > 0)
        if source.valid is None
        else Stream(name=source.name, files=source.valid)
        for source in sources
    )


def _among_training(keys: np.ndarray | None, sources: list[Source]) -> np.ndarray | None:
    """The keys of stories of sources whose held-out stories come from the same files; one with
    files of its own for them numbers others."""
    shared = [number for number, source in enumerate(sources) if source.valid is None]
    if keys is None or len(shared) == len(sources):
        return keys
    return keys[np.isin(keys >> np.uint64(SOURCE_BIT), shared)]


def _fingerprint(sources: list[Source], config: DataConfig, refining: Refining) -> str:
    """sha256 of what determines the stories of `data`; as in mlx-rev 0.1 where it could read them
    as they are asked for here."""
    prints = [source.fingerprint(config.valid_share) for source in sources]
    weights = [repr(source.weight) for source in sources]
    fingerprint = prints[0] if weights == ["1.0"] else sha256("mixture", *prints, *weights)
    options = refining.described()
    options += ["deduplicate"] if config.deduplicate else []
    options += ["on_error skip"] if config.on_error == "skip" else []
    return sha256(fingerprint, *options) if options else fingerprint


def _without_repeated(
    train: Part, fingerprint: str, cache: Path, tell: TellStage
) -> tuple[Part, list[str]]:
    """The part without stories that were there before, and how many those are, in words."""
    whole = replace(
        train, streams=tuple(replace(each, weight=1.0, share=0.0) for each in train.streams)
    )
    stage = "looking for stories that are there twice"
    problems = train.problems
    if problems.skip and problems.tokenizer is not None and problems.refused != SPACE_MARK:
        # Others are left out, so the stories have other numbers.
        fingerprint = sha256(fingerprint, problems.tokenizer.fingerprint)
    path = cache / "duplicates" / f"{fingerprint[:32]}.npy"
    keys = duplicates.repeated(whole, path, lambda share: tell(stage, share))
    count = len(keys)
    said = [f"{train.data}: repeated stories left out: {count:,}"] if count else []
    return replace(train, repeated=keys), said
