"""docs/study.md and its pictures, from the results that are there."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from study_arms import Arm, arms

from mlx_rev import files
from mlx_rev.generate import bootstrap

Result = Mapping[str, Any]

_ENDING_MEASURES = (
    ("retrieved", "ending recognised (R@1)", "{:.0%}"),
    ("reciprocal_rank", "mean reciprocal rank", "{:.2f}"),
    ("ending_bits_per_byte", "bits per byte of the ending", "{:.3f}"),
    ("bits_per_byte", "bits per byte under the judge", "{:.3f}"),
    ("loops", "one word over 8%", "{:.0%}"),
    ("cut", "not at its beginning", "{:.0%}"),
)


def write_report(results: Path, out: Path, planned: int) -> None:
    """Write study.md to `out`, and its pictures to `out`/study, of so many trainings as are there
    of those that are planned."""
    found = [json.loads(path.read_text()) for path in sorted(results.glob("*.json"))]
    pictures = out / "study"
    pictures.mkdir(parents=True, exist_ok=True)
    parts = [(pictures / "question.md").read_text()]
    for size in sorted(
        {result["size"] for result in found}, key=lambda name: len(name), reverse=True
    ):
        own = [result for result in found if result["size"] == size]
        parts.append(_section(size, own, pictures))
    hours = sum(result["cpu_seconds"] for result in found) / 3600
    done = f"{len(found)} of {planned} trainings are done, in {hours:.1f} CPU hours."
    if len(found) < planned:
        done += " **The study is not finished**: what follows is what there is so far."
    parts.insert(1, f"## How far it is\n\n{done}\n")
    files.write_text(out / "study.md", "\n".join(parts))


def _section(size: str, results: list[Result], pictures: Path) -> str:
    """What was found at one size."""
    by_arm = {arm: [r for r in results if r["arm"] == arm.name] for arm in arms()}
    by_arm = {arm: own for arm, own in by_arm.items() if own}
    seeds = {arm: len(own) for arm, own in by_arm.items()}
    parts = [f"## {size}\n", _bits_table(by_arm)]
    if any(arm.takes_endings for arm in by_arm):
        parts.append(_endings_table(by_arm))
    for key, title in (("class", "the class of the word"), ("form", "the token's form")):
        parts.append(_groups_table(by_arm, key, title))
    for stream in (False, True):
        name = f"arrow-{size}{'-stream' if stream else ''}.png"
        if _arrow(by_arm, stream, pictures / name):
            rows = "stream rows" if stream else "whole stories"
            parts.append(f"![The arrow of time by place, {size}, {rows}](study/{name})\n")
    parts.append(f"Seeds: {', '.join(f'{arm.label} {count}' for arm, count in seeds.items())}.\n")
    return "\n".join(parts)


def _bits_table(by_arm: Mapping[Arm, list[Result]]) -> str:
    """Bits per byte, and the difference from forward, paired by story and seed."""
    rows = []
    reference = {r["seed"]: r for arm, own in by_arm.items() if arm.name == "forward" for r in own}
    for arm, own in by_arm.items():
        for key, suffix in (("bits", ""), ("bits_forward", ", read forwards")):
            if key not in own[0]:
                continue
            each = [_bits_per_byte(result, key) for result in own]
            pairs = [(r, reference[r["seed"]]) for r in own if r["seed"] in reference]
            rows.append(
                [
                    arm.label + suffix,
                    f"{np.mean(each):.4f}",
                    _spread(each),
                    _difference(pairs, key) if pairs and arm.name != "forward" else "",
                    f"{own[0]['bytes_per_token']:.2f}",
                    f"{own[0]['epochs']:.2f}",
                ]
            )
    head = ["arm", "bits per byte", "seeds' spread", "against forward", "bytes per token", "epochs"]
    return _table(head, rows)


def _bits_per_byte(result: Result, key: str = "bits") -> float:
    return float(sum(result[key]["stories"]) / sum(result["story_bytes"]))


def _spread(values: Sequence[float]) -> str:
    return f"{max(values) - min(values):.4f}" if len(values) > 1 else "one seed"


def _difference(pairs: Sequence[tuple[Result, Result]], key: str) -> str:
    """How many percent more bits than forward, and the interval of drawing other stories."""
    sizes = np.array(pairs[0][0]["story_bytes"], float)
    own = np.mean([result[key]["stories"] for result, _ in pairs], axis=0)
    forward = np.mean([other["bits"]["stories"] for _, other in pairs], axis=0)
    drawn = bootstrap.resamples(len(sizes), 0)
    ratio = own[drawn].sum(axis=1) / forward[drawn].sum(axis=1) - 1
    low, high = np.quantile(ratio, [0.025, 0.975])
    return f"{own.sum() / forward.sum() - 1:+.1%} ({low:+.1%} to {high:+.1%})"


def _endings_table(by_arm: Mapping[Arm, list[Result]]) -> str:
    """Where stories told from endings lead, with the interval of drawing other endings."""
    rows = []
    for arm, own in by_arm.items():
        if arm.takes_endings:
            rows.append([arm.label, *_ending_figures(own, "")])
    own = next(own for arm, own in by_arm.items() if arm.takes_endings)
    rows.append(["real stories", *_ending_figures(own[:1], "real ")])
    return _table(["arm", *(label for _, label, _ in _ENDING_MEASURES)], rows)


def _ending_figures(results: list[Result], prefix: str) -> list[str]:
    figures = []
    for key, _, form in _ENDING_MEASURES:
        means, lows, highs = np.mean([r["endings"][prefix + key] for r in results], axis=0)[:, None]
        figures.append(
            f"{form.format(means[0])} ({form.format(lows[0])} to {form.format(highs[0])})"
        )
    return figures


def _groups_table(by_arm: Mapping[Arm, list[Result]], key: str, title: str) -> str:
    """Bits per byte of tokens by group."""
    shown = {arm: own for arm, own in by_arm.items() if key in own[0]["bits"]}
    names = sorted({name for own in shown.values() for name in own[0]["bits"][key]})
    rows = []
    for arm, own in shown.items():
        sums = {
            name: np.sum([r["bits"][key].get(name, [0, 0, 0]) for r in own], 0) for name in names
        }
        rows.append([arm.label, *(f"{b / max(1, n):.3f}" for b, n, _ in sums.values())])
    return f"Bits per byte by {title}:\n\n" + _table(["arm", *names], rows)


def _arrow(by_arm: Mapping[Arm, list[Result]], stream: bool, path: Path) -> bool:
    """Draw backward / forward - 1 in bits per byte, by the place of a token, as 2401.17505 defines
    the arrow of time; whether there was anything to draw."""
    forward = next((own for arm, own in by_arm.items() if _reads_forwards(arm, stream)), None)
    others = {
        arm: own
        for arm, own in by_arm.items()
        if arm.stream is stream and arm.reversal != "none" and "place" in own[0]["bits"]
    }
    if forward is None or not others:
        return False
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    base = _by_place(forward)
    for arm, own in others.items():
        lost = [100 * (value / base[place] - 1) for place, value in _by_place(own).items()]
        axes.plot(list(base), lost, marker="o", markersize=3, label=arm.label)
    axes.axhline(0, color="grey", linewidth=0.8)
    axes.set_xscale("log", base=2)
    axes.set_yscale("symlog", linthresh=10)  # how stories begin is known before it is read
    axes.set_xlabel("place of the token in what is read, from")
    axes.set_ylabel("bits per byte, % more than forward")
    axes.legend(frameon=False)
    with files.atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)
    return True


def _reads_forwards(arm: Arm, stream: bool) -> bool:
    return arm.name == ("forward-stream" if stream else "forward")


def _by_place(results: list[Result]) -> dict[int, float]:
    places = {int(place) for place in results[0]["bits"]["place"]}
    sums = {
        place: np.sum([r["bits"]["place"][str(place)] for r in results], axis=0)
        for place in sorted(places)
    }
    return {place: float(bits / size) for place, (bits, size, _) in sums.items()}


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    line: Callable[[Sequence[str]], str] = lambda cells: f"| {' | '.join(cells)} |"  # noqa: E731
    return "\n".join([line(head), line(["---"] * len(head)), *map(line, rows)]) + "\n"
