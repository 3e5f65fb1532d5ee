#!/usr/bin/env python3
"""Make the folder of a built-in model from a training run: files, figures, samples, README."""

import argparse
import json
import shutil
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402

from mlx_rev import files, run_folder  # noqa: E402
from mlx_rev.config import Dtype  # noqa: E402
from mlx_rev.config_file import read_toml  # noqa: E402
from mlx_rev.data.sources.story_files import read_stories  # noqa: E402
from mlx_rev.errors import DataError, RevError, in_a_line  # noqa: E402
from mlx_rev.formats import overwrite  # noqa: E402
from mlx_rev.formats.detect import open_model  # noqa: E402
from mlx_rev.formats.huggingface import write_folder  # noqa: E402
from mlx_rev.generate.teller import Teller, load  # noqa: E402
from mlx_rev.model.llama import get_weights  # noqa: E402
from mlx_rev.model.score import Score, score_stories  # noqa: E402
from mlx_rev.text.sentences import last_sentences  # noqa: E402
from mlx_rev.train.runlog import read_metrics  # noqa: E402
from mlx_rev.ui.durations import spoken  # noqa: E402

SAMPLES = 10
COPIED = (run_folder.METRICS, run_folder.LOSS_PICTURE)
DIRECTIONS = {True: "backwards", False: "forwards"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the options and make the folder, or make it anew."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="the training run; its best checkpoint is taken")
    parser.add_argument("target", type=Path, help="the folder, such as weights/stories9m")
    parser.add_argument("--stories", type=Path, required=True, help="held-out stories to score on")
    parser.add_argument("--temperature", type=float, default=0.8, help="at which it tells best")
    parser.add_argument("--repetition-penalty", type=float, default=1.0, help="the same")
    parser.add_argument("--dtype", choices=["float32", "float16"], default="float32")
    parser.add_argument("--evaluation", type=Path, help="what mlx-rev evaluate --json wrote of it")
    parser.add_argument("--judge", default="", help="the judge of that, in words")
    parser.add_argument("--notes", type=Path, help="Markdown on how it came about, for the README")
    options = parser.parse_args(arguments)
    try:
        _ship(options)
    except (RevError, OSError) as error:
        print(f"{parser.prog}: {in_a_line(error)}", file=sys.stderr)
        return 2
    return 0


def _ship(options: argparse.Namespace) -> None:
    settings = {
        "temperature": options.temperature,
        "repetition_penalty": options.repetition_penalty,
    }
    model = replace(open_model(options.run), settings=settings)
    overwrite.check_folder(options.target, force=True, also=COPIED)
    with files.atomic_folder(options.target.resolve()) as made:
        write_folder(made, model, dtype=Dtype(options.dtype))
        for name in COPIED:
            shutil.copyfile(options.run / name, made / name)
        (made / "README.md").write_text(_readme(load(made), options), encoding="utf-8")


def _readme(teller: Teller, options: argparse.Namespace) -> str:
    name = options.target.resolve().name
    config = teller.model.config
    parameters = sum(weight.size for weight in get_weights(teller.model).values())
    stories = list(read_stories(options.stories))
    opposite = teller.opposite
    also = "; it reads and writes forwards too" if opposite else ""
    scores = "\n".join(
        f"- **Validation, {DIRECTIONS[one is teller]}**: {_scored(one, stories)}"
        for one in (teller, opposite)
        if one is not None
    )
    about = (
        f"A Llama of {parameters:,} parameters that writes children's stories **backwards from "
        f"their ending**{also}. It has {config.n_layers} layers of width {config.dim}, "
        f"{config.n_heads} heads, a vocabulary of {config.vocab_size:,} and a context of "
        f"{config.context} tokens, word-reversed, with weights in {options.dtype}. It is the "
        "built-in model: `mlx-rev tell`, `mlx-rev repl` and `mlx_rev.load()` use it if none is "
        "named."
    )
    steps, seconds, tokens = _cost(options.run)
    notes = options.notes.read_text("utf-8").strip() + "\n\n" if options.notes else ""
    return f"""# {name}

{textwrap.fill(about, 100)}

{scores}
- **Data**: a sample of [TinyStories](https://huggingface.co/datasets/roneneldan/TinyStories)
  (R. Eldan, Y. Li, 2023): stories written by GPT-3.5 and GPT-4.
- **Licence**: CDLA-Sharing-1.0, that of the data.
- **Recipe**: [mlx_rev/configs/{name}.toml](../../mlx_rev/configs/{name}.toml).
- **Cost**: {steps:,} steps, {tokens / 1e6:.1f} million tokens, {spoken(seconds)}.

`metrics.jsonl` holds what was measured during training, `loss.png` its curve. This makes
`model.bin` and `tokenizer.bin` for llama2.c:

```sh
mlx-rev convert weights/{name} model.bin
```

{notes}{_evaluated(options)}## Ten samples

Not selected: the endings are the last sentences of the first ten held-out stories, the seeds 0 to
{SAMPLES - 1}, the settings those that come with the model: temperature
{teller.settings.temperature}, repetition penalty {teller.settings.repetition_penalty}, top-p
{teller.settings.top_p}. To tell one again: `mlx-rev tell ENDING --seed SEED`.

{_samples(teller, stories[:SAMPLES])}"""


def _evaluated(options: argparse.Namespace) -> str:
    """The evaluation as a section with a table."""
    if options.evaluation is None:
        return ""
    found = json.loads(options.evaluation.read_text("utf-8"))
    rows = found["rows"]
    lines = ["| | " + " | ".join(rows) + " |", "| --- |" + " ---: |" * len(rows)]
    for key, label in found["measures"].items():
        cells = (
            "{mean:.3f} [{low:.3f}, {high:.3f}]".format(**figures[key]) for figures in rows.values()
        )
        lines.append(f"| {label} | {' | '.join(cells)} |")
    settings = found["settings"]
    table = "\n".join(lines)
    return f"""## Evaluation

{found["endings"]} held-out endings, one story each at temperature {settings["temperature"]} and
repetition penalty {settings["repetition_penalty"]}, beside real stories and, as
misfits, real stories each with another's ending; 95% intervals in brackets. Judge: {options.judge}.

{table}

"""


def _scored(teller: Teller, stories: list[str]) -> str:
    score = _score(teller, stories)
    return (
        f"{score.bits_per_byte:.4f} bits per byte, {score.nats_per_token:.4f} nats per token\n"
        f"  on {len(stories):,} held-out stories ({score.text_bytes:,} bytes)."
    )


def _score(teller: Teller, stories: list[str]) -> Score:
    ids = [np.array(own) for own in teller.codec.enclosed(stories)]
    return score_stories(teller.model, ids, sum(len(story.encode()) for story in stories))


def _cost(run: Path) -> tuple[int, float, int]:
    """Steps, seconds and tokens of a run, from its config and its log."""
    config = read_toml(run / run_folder.CONFIG)
    step_tokens = config.train.batch_size * config.train.accumulation * config.model.context
    entries = read_metrics(run / run_folder.METRICS)
    seconds, before = 0.0, 0
    for entry in entries:
        if entry["kind"] == "step":
            seconds += (entry["step"] - before) * step_tokens / entry["tokens_per_second"]
            before = entry["step"]
    if not before:
        raise DataError(f"{run / run_folder.METRICS}: has no step; expected the log of a training")
    steps = max(entry["step"] for entry in entries)  # the last ones may have no line of their own
    return steps, seconds * steps / before, steps * step_tokens


def _samples(teller: Teller, stories: list[str]) -> str:
    shown = []
    for seed, story in enumerate(stories):
        ending = last_sentences(story)
        told = teller.tell(ending, seed=seed)
        body = "\n>\n".join(
            textwrap.fill(line, 96, initial_indent="> ", subsequent_indent="> ")
            for line in told.text.split("\n")
            if line.strip()
        )
        shown.append(f"**Seed {seed}**, `{ending}`\n\n{body}\n")
    return "\n".join(shown)


if __name__ == "__main__":
    sys.exit(main())
