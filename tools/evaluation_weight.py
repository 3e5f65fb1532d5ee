"""How much a story's own likelihood should count beside that under the other direction.

    python tools/evaluation_weight.py --judge stories260K.bin --judge-tokenizer tok512.bin \\
        --valid valid.txt

The mirror of what LEDOM (2507.01335) and TRLM (2412.02626) do takes the story with the highest
log P_forward + weight * log P_backward, both for each byte. The weight is chosen here on held-out
endings that tools/evaluation_table.py does not take, by how likely their endings are under a judge
that had no part in it; the table then measures that rule with it. weights.json has what comes out,
beside the choice of `tell --best-of` among the same stories.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import tyro
from evaluation_table import Measured, Watch, likeliest_both_ways, say

from mlx_rev import files
from mlx_rev.data.sources.story_files import read_stories
from mlx_rev.errors import RevError
from mlx_rev.generate.evaluate import Yardstick, held_out, measure_rows
from mlx_rev.generate.judge import judge_of
from mlx_rev.generate.measures import EndedStory, known_names
from mlx_rev.generate.methods import best_ranked, tell_several
from mlx_rev.generate.rerank import ranked

WEIGHTS = (0.0, 0.25, 0.5, 1.0, 2.0)
SHOWN = ("retrieved", "reciprocal_rank", "ending_bits_per_byte", "loops", "cut", "bits_per_byte")
CHOSEN = "tell --best-of"


@dataclass(frozen=True, kw_only=True)
class Options(Measured):
    """How much a story's own likelihood should count beside that under the other direction."""

    after: int = 100
    """Endings to leave out: those of the table."""
    count: int = 40
    """Endings to choose by."""
    best_of: int = 16
    """Stories to choose from."""


def main() -> None:
    """Tell, choose with each weight, measure, and write weights.json."""
    options = tyro.cli(Options, description=__doc__)
    try:
        content = measured(options)
    except RevError as error:
        raise SystemExit(f"evaluation_weight: {error}") from error
    files.write_text(options.out / "weights.json", json.dumps(content, indent=1) + "\n")
    say(f"weight {content['best']:g}")


def measured(options: Options) -> dict[str, Any]:
    """The figures for each weight, and which one makes the endings likeliest."""
    teller, forward, judge = options.load()
    if forward is None:
        raise RevError("--model reads backwards only: give --forward, its other half")
    stories, watch = list(read_stories(str(options.valid))), Watch()
    real = held_out(stories, options.after + options.count)[options.after :]
    names = known_names([*stories, *(story.ending for story in real)])
    endings, chooser = [story.ending for story in real], judge_of(forward, turned=False)
    settings = replace(teller.settings, seed=options.seed)
    told = tell_several(teller, endings, options.best_of, settings, watch.of("telling"))
    candidates = [ranked(teller.model, teller.codec, own, chooser) for own in told]
    rows: dict[str, Sequence[EndedStory]] = {
        f"{weight:g}": [likeliest_both_ways(own, weight) for own in candidates]
        for weight in WEIGHTS
    }
    rows[CHOSEN] = [best_ranked(teller, own, chooser) for own in told]
    yardstick = Yardstick(real=real, names=names, judges=(judge,))
    _, figures = measure_rows(rows, yardstick, options.seed, watch, references=False)
    means = {
        name: {key: float(f"{row[key].estimate.mean:.4g}") for key in SHOWN}
        for name, row in figures.items()
    }
    best = min(WEIGHTS, key=lambda weight: means[f"{weight:g}"]["ending_bits_per_byte"])
    about = options.about(teller, len(real)) | {"after": options.after, "best_of": options.best_of}
    return {"about": about, "best": best, "rows": means}


if __name__ == "__main__":
    main()
