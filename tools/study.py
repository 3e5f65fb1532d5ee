"""What does reversal cost, and what is it good for? Train every arm, measure it, write it up.

    python tools/study.py run --data train.txt --valid valid.txt --judge stories260K.bin \\
        --judge-tokenizer tok512.bin
    python tools/study.py report

`run` trains one arm after another, each on one core, and writes what it measures to
docs/study/results, a file for each; what is there for the same text, judge and steps is not done
again, and a training that was killed is resumed from its checkpoint. `report` writes docs/study.md
and its pictures from there.
"""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import tyro
from study_arms import ENDINGS, Arm, arms, prepare_arm
from study_measures import bits_of, leads_to_endings
from study_report import write_report

from mlx_rev import backend, files, run_folder
from mlx_rev.config import DataConfig, ModelConfig, RunConfig, TrainConfig
from mlx_rev.data.prepare import Prepared
from mlx_rev.data.sources.story_files import read_stories
from mlx_rev.errors import RevError
from mlx_rev.model.load import load_model
from mlx_rev.presets import preset
from mlx_rev.train.events import Event
from mlx_rev.train.loop import fit

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "docs" / "study" / "results"
SCORED = 400
"""Held-out stories whose bits are counted."""
SIZES = {
    "260k": RunConfig(
        model=preset("260k").model,
        train=TrainConfig(steps=1200, batch_size=4, learning_rate=4e-3, init_std=0.05),
    ),
    "1.5m": RunConfig(
        model=ModelConfig(
            dim=128,
            n_layers=6,
            n_heads=8,
            n_kv_heads=8,
            hidden_dim=344,
            vocab_size=2048,
            context=256,
        ),
        train=TrainConfig(steps=1200, batch_size=8, learning_rate=3e-3, init_std=0.05),
    ),
}
ORDER = (("260k", 0), ("260k", 1), ("1.5m", 0), ("260k", 2), ("1.5m", 1))
"""Sizes and seeds, so that what is there at any time is worth most."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """Train and measure what is not there yet."""

    data: Path
    """Stories to train on."""
    valid: Path
    """Held-out stories."""
    judge: Path
    """A forward model that had no part in any of it."""
    judge_tokenizer: Path
    """Its vocabulary."""
    work: Path | None = None
    """Where shards and unfinished runs are kept: by default build/study."""
    results: Path | None = None
    """Where results are written: by default docs/study/results."""
    steps: int | None = None
    """Fewer steps, to try it out: both are then below build/study-tried by default."""

    @property
    def work_folder(self) -> Path:
        """Where shards and unfinished runs are kept."""
        return self.work or ROOT / "build" / ("study-tried" if self.steps else "study")

    @property
    def results_folder(self) -> Path:
        """Where results are written."""
        return self.results or (self.work_folder / "results" if self.steps else RESULTS)

    def about(self, size: str) -> dict[str, Any]:
        """What results of a size depend on."""
        return {
            "steps": self.steps or SIZES[size].train.steps,
            "data": _fingerprint(self.data),
            "valid": _fingerprint(self.valid),
            "judge": _fingerprint(self.judge),
            "judge_tokenizer": _fingerprint(self.judge_tokenizer),
        }


@dataclass(frozen=True, kw_only=True)
class Report:
    """Write docs/study.md from the results that are there."""

    results: Path = RESULTS
    """Where results are."""
    out: Path = ROOT / "docs"
    """Where study.md goes, and study/ with its pictures."""


@cache
def _fingerprint(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


@dataclass
class Spent:
    """CPU seconds of a training, which are kept beside its folder with what it depends on: those
    before it was killed count too."""

    path: Path
    about: dict[str, Any]

    def __post_init__(self) -> None:
        self._began = time.process_time()
        self._before = 0.0
        if self.goes_on:
            self._before = json.loads(self.path.read_text())["cpu_seconds"]

    @property
    def goes_on(self) -> bool:
        """Whether what was begun depends on the same."""
        return self.path.exists() and json.loads(self.path.read_text())["about"] == self.about

    @property
    def seconds(self) -> float:
        """In all, up to now."""
        return self._before + time.process_time() - self._began

    def report(self, event: Event) -> None:
        """Keep what was spent so far."""
        content = {"about": self.about, "cpu_seconds": self.seconds}
        files.write_text(self.path, json.dumps(content) + "\n")


def main() -> None:
    """Do what the command line says."""
    command = tyro.cli(
        Annotated[Run, tyro.conf.subcommand("run")]
        | Annotated[Report, tyro.conf.subcommand("report")],
        description=__doc__,
    )
    if isinstance(command, Report):
        names = [f"{size}-{arm.name}-{seed}" for size, seed, arm in planned()]
        try:
            write_report(command.results, command.out, names)
        except RevError as error:
            raise SystemExit(f"study: {error}") from error
        return
    for size, seed, arm in planned():
        target = command.results_folder / f"{size}-{arm.name}-{seed}.json"
        if not is_done(target, command.about(size)):
            result = result_of(command, arm, size, seed)
            files.write_text(target, json.dumps(result) + "\n")
            print(f"{time.strftime('%H:%M')} {target.name} {result['cpu_seconds']:.0f} s")


def is_done(target: Path, about: dict[str, Any]) -> bool:
    """Whether a result is there that depends on the same."""
    return target.exists() and json.loads(target.read_text()).get("about") == about


def planned() -> Iterator[tuple[str, int, Arm]]:
    """Size, seed and arm of every training, in the order in which they are done."""
    for size, seed in ORDER:
        yield from ((size, seed, arm) for arm in arms() if size == "260k" or not arm.stream)


def result_of(command: Run, arm: Arm, size: str, seed: int) -> dict[str, Any]:
    """Train an arm and measure it."""
    config = SIZES[size]
    data, vocabulary = prepare_arm(
        arm, command.data, command.valid, config.model.vocab_size, command.work_folder
    )
    run = command.work_folder / "runs" / f"{size}-{arm.name}-{seed}"
    about = command.about(size)
    spent = Spent(run.with_name(f"{run.name}.json"), about)
    if not spent.goes_on:
        shutil.rmtree(run, ignore_errors=True)
    config = _train(command, run, config, data, vocabulary, seed, spent)
    loaded = load_model(run, ops=backend.choose().ops)
    model, codec = loaded.model, data.codec
    stories = list(read_stories(str(command.valid)))
    scored = stories[:SCORED]
    result: dict[str, Any] = {"arm": arm.name, "size": size, "seed": seed, "about": about}
    result |= _text_read(data, config)
    result["story_bytes"] = [len(story.encode()) for story in scored]
    result["bits"] = bits_of(arm, model, codec, scored)
    if codec.opposite is not None:
        result["bits_forward"] = bits_of(arm, model, codec.opposite, scored)
    if arm.takes_endings:
        judge = command.judge, command.judge_tokenizer
        result["endings"] = leads_to_endings(
            arm, model, codec, stories, ENDINGS, judge, command.work_folder
        )
    result["cpu_seconds"] = round(spent.seconds)
    shutil.rmtree(run)
    spent.path.unlink()
    return result


def _train(
    command: Run,
    run: Path,
    config: RunConfig,
    data: Prepared,
    vocabulary: Path,
    seed: int,
    reporter: Spent,
) -> RunConfig:
    """Train, or resume what was begun."""
    steps = command.steps or config.train.steps
    train = replace(
        config.train,
        steps=steps,
        seed=seed + 1,
        workers=1,
        min_learning_rate=0.0,
        warmup=min(100, steps // 2),
        log_every=50,
        eval_every=steps,
        eval_stories=100,
        save_every=100,
        keep=1,
        sample_every=steps,
        packing="once",  # as in the study's first trainings
    )
    order = data.codec.order.name
    config = RunConfig(
        model=config.model,
        data=DataConfig(data=str(command.data), reversal=order, tokenizer=str(vocabulary)),
        train=train,
    )
    resume = run_folder.latest(run) is not None
    finished = resume and (run / "finished").exists()
    if not finished:
        fit(run, config, data, reporter, resume=resume)
        files.write_text(run / "finished", "")
    return config


def _text_read(data: Prepared, config: RunConfig) -> dict[str, Any]:
    """How much of the text the tokens of the training amount to."""
    tokens = sum(part.train.token_count for part in data.directions)
    seen = config.train.steps * config.train.batch_size * config.model.context
    text = int(data.train.text_bytes.sum())
    return {
        "tokens": seen,
        "epochs": round(seen / tokens, 3),
        "bytes_per_token": round(text * len(data.directions) / tokens, 3),
        "steps": config.train.steps,
    }


if __name__ == "__main__":
    main()
