"""docs/study.md and its pictures, from the results that are there."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from study_arms import ENDINGS, Arm, arms
from study_conclusion import (
    LIMITS,
    Result,
    conclusion,
    difference,
    ending_figure,
    noise_of_bits,
)
from study_noise import Noise

from mlx_rev import files
from mlx_rev.errors import ConfigError
from mlx_rev.generate import retrieval

_ENDING_MEASURES = (
    ("retrieved", "ending recognised (R@1)", "{:.0%}"),
    ("reciprocal_rank", "mean reciprocal rank", "{:.2f}"),
    ("ending_bits_per_byte", "bits per byte of the ending", "{:.3f}"),
    ("bits_per_byte", "bits per byte under the judge", "{:.3f}"),
    ("loops", "one word over 8%", "{:.0%}"),
    ("cut", "not complete", "{:.0%}"),
)


def write_report(results: Path, out: Path, planned: Sequence[str]) -> None:
    """Write study.md to `out`, and its pictures to `out`/study, of those trainings that are there:
    of all that are planned the names, in the order of the sizes. What people wrote is there
    already; their answer is left out until all is done. Raises ConfigError where results of one
    size depend on different texts, judges or steps."""
    found = [json.loads(path.read_text()) for path in sorted(results.glob("*.json"))]
    _check_alike(found, results)
    pictures = out / "study"
    pictures.mkdir(parents=True, exist_ok=True)
    sizes = dict.fromkeys(name.partition("-")[0] for name in planned)
    by_size = {size: _by_arm([own for own in found if own["size"] == size]) for size in sizes}
    labels = {arm.name: arm.label for arm in arms()}
    named = {
        size: {arm.name: own for arm, own in by_arm.items()} for size, by_arm in by_size.items()
    }
    done = {"{size}-{arm}-{seed}".format_map(own) for own in found}
    whole = set(planned) <= done
    written = ["question", "answer", "setup"] if whole else ["question", "setup"]
    parts = [
        *((pictures / f"{name}.md").read_text() for name in written),
        f"## How far it is\n\n{_how_far(found, len(done.intersection(planned)), len(planned))}\n",
        conclusion(named, labels, whole=whole),
        *(_section(size, by_arm, pictures) for size, by_arm in by_size.items() if by_arm),
        LIMITS,
    ]
    files.write_text(out / "study.md", "\n".join(parts))


def _check_alike(found: Sequence[Result], folder: Path) -> None:
    """Refuse results of one size that depend on different things."""
    first: dict[str, Result] = {}
    for own in found:
        other = first.setdefault(own["size"], own)
        if own["about"] != other["about"]:
            names = (f"{one['size']}-{one['arm']}-{one['seed']}.json" for one in (other, own))
            raise ConfigError(
                f"{folder}: {' and '.join(names)} are of different texts, judges or steps; "
                "expected the same for all of a size; keep those of each study by themselves"
            )


def _how_far(found: Sequence[Result], done: int, planned: int) -> str:
    hours = sum(result["cpu_seconds"] for result in found) / 3600
    said = f"{done} of {planned} trainings are done, in {hours:.1f} CPU hours."
    if done < planned:
        said += " **The study is not finished**: what follows is what there is so far."
    return said


def _by_arm(results: Sequence[Result]) -> dict[Arm, list[Result]]:
    """Results by the arm, in the order in which arms are run."""
    by_arm = {arm: [own for own in results if own["arm"] == arm.name] for arm in arms()}
    return {arm: own for arm, own in by_arm.items() if own}


def _section(size: str, by_arm: Mapping[Arm, list[Result]], pictures: Path) -> str:
    """What was found at one size: of the seeds that all arms have, so that rows compare."""
    seeds = set.intersection(*({one["seed"] for one in own} for own in by_arm.values()))
    if not seeds:
        return f"## {size}\n\nNo seed is done in all arms yet.\n"
    shown = {arm: [one for one in own if one["seed"] in seeds] for arm, own in by_arm.items()}
    noise = noise_of_bits(one for own in by_arm.values() for one in own)
    more = [f"{arm.label} {len(own)}" for arm, own in by_arm.items() if len(own) > len(seeds)]
    parts = [f"## {size}\n", _of_seeds(sorted(seeds), more, noise), _bits_table(shown, noise)]
    if any(arm.takes_endings for arm in shown):
        parts.append(_endings_table(shown))
    for key, title in (("class", "the class of the word"), ("form", "the token's form")):
        parts.append(_groups_table(shown, key, title))
    for stream in (False, True):
        name = f"arrow-{size}{'-stream' if stream else ''}.png"
        if _arrow(shown, stream, pictures / name):
            rows = "stream rows" if stream else "whole stories"
            parts.append(f"![The arrow of time by place, {size}, {rows}](study/{name})\n")
    return "\n".join(parts)


def _of_seeds(seeds: Sequence[int], more: Sequence[str], noise: Noise) -> str:
    """Which trainings the tables are of, and how far chance moves one."""
    said = f"Of the seeds that all arms have: {', '.join(map(str, seeds))}."
    if more:
        said += f" The sentences above count more of {'; '.join(more)}."
    if noise.degrees:
        freedom = "degree" if noise.degrees == 1 else "degrees"
        said += f" The noise of one training: {noise.variance**0.5:.2%} of its bits"
        said += f" ({noise.degrees} {freedom} of freedom)."
    return f"{said}\n"


def _bits_table(by_arm: Mapping[Arm, list[Result]], noise: Noise) -> str:
    """Bits per byte, and the difference from forward, paired by story and seed."""
    rows = []
    forward = next((own for arm, own in by_arm.items() if arm.name == "forward"), [])
    for arm, own in by_arm.items():
        for key, suffix in (("bits", ""), ("bits_forward", ", read forwards")):
            if key not in own[0]:
                continue
            each = [_bits_per_byte(result, key) for result in own]
            compared = difference(own, forward, noise, key) if arm.name != "forward" else None
            rows.append(
                [
                    arm.label + suffix,
                    f"{np.mean(each):.4f}",
                    _spread(each),
                    *((compared.interval, compared.seeds) if compared else ("", "")),
                    f"{own[0]['bytes_per_token']:.2f}",
                    f"{own[0]['epochs']:.2f}",
                ]
            )
    head = ["arm", "bits per byte", "seeds' spread", "against forward", "in each seed"]
    return _table([*head, "bytes per token", "epochs"], rows)


def _bits_per_byte(result: Result, key: str = "bits") -> float:
    return float(sum(result[key]["stories"]) / sum(result["story_bytes"]))


def _spread(values: Sequence[float]) -> str:
    return f"{max(values) - min(values):.4f}" if len(values) > 1 else "one seed"


def _endings_table(by_arm: Mapping[Arm, list[Result]]) -> str:
    """Where stories told from endings lead, with the interval of drawing other endings."""
    rows = []
    for arm, own in by_arm.items():
        if arm.takes_endings:
            rows.append([arm.label, *_ending_figures(own, "")])
    own = next(own for arm, own in by_arm.items() if arm.takes_endings)
    rows.append(["real stories", *_ending_figures(own[:1], "real ")])
    found = retrieval.chance(ENDINGS)
    chance = [form.format(found[key]) if key in found else "" for key, _, form in _ENDING_MEASURES]
    rows.append(["chance", *chance])
    return _table(["arm", *(label for _, label, _ in _ENDING_MEASURES)], rows)


def _ending_figures(results: list[Result], prefix: str) -> list[str]:
    figures = []
    for key, _, form in _ENDING_MEASURES:
        mean, low, high = map(form.format, ending_figure(results, prefix + key))
        figures.append(f"{mean} ({low} to {high})")
    return figures


def _groups_table(by_arm: Mapping[Arm, list[Result]], key: str, title: str) -> str:
    """Bits of tokens by group, for each byte of the whole text, so that they sum to the arm's."""
    shown = {arm: own for arm, own in by_arm.items() if key in own[0]["bits"]}
    names = sorted({name for own in shown.values() for name in own[0]["bits"][key]})
    rows = []
    for arm, own in shown.items():
        size = sum(sum(result["story_bytes"]) for result in own)
        parts = [
            sum(result["bits"][key].get(name, [0])[0] for result in own) / size for name in names
        ]
        total = float(np.mean([_bits_per_byte(result) for result in own]))
        rest = max(0.0, total - sum(parts))
        rows.append([arm.label, *(f"{own:.3f}" for own in (*parts, rest, total))])
    head = ["arm", *names, "the story's other end", "all"]
    return f"Of the bits per byte, by {title}:\n\n" + _table(head, rows)


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
    from matplotlib.figure import Figure  # takes a second, and only the picture needs it

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
