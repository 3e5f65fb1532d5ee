"""docs/evaluation.md from what evaluation_table.py and meeting_table.py have measured."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mlx_rev import files
from mlx_rev.generate import bootstrap, retrieval

Result = dict[str, Any]

FAULTS = ("loops", "cut", "stray_names", "unbalanced_quotes")
"""What a reader sees at once, each a share of stories."""
_SHARES = (*FAULTS, "retrieved")
"""What is true or false of a story; in JSON it is 0 or 1, as others may happen to be."""
LABELS = {
    "real": "real stories",
    "shuffled": "real stories, each with another's ending",
    "smaller": "one story by `{smaller}`",
    "one": "one story at the model's own settings",
    "likeliest": "best of {best_of} by the model's own likelihood",
    "both_ways": "best of {best_of} by likelihood, forward + {weight:g} × backward",
    "judged": "best of {best_of} by the forward half (`tell --best-of`)",
    "openings": "forward: best of {best_of}, the ending put in place of its last sentence",
}
COLUMNS = (
    ("retrieved", "ending recognised (R@1)", "{:.0%}"),
    ("reciprocal_rank", "mean reciprocal rank", "{:.2f}"),
    ("ending_bits_per_byte", "bits/byte of the ending", "{:.3f}"),
    ("bits_per_byte", "bits/byte", "{:.3f}"),
    ("faults", "faults a story", "{:.2f}"),
    ("loops", "one word over 8%", "{:.0%}"),
    ("cut", "no beginning", "{:.0%}"),
    ("stray_names", "stray name", "{:.0%}"),
    ("unbalanced_quotes", "open quotation", "{:.0%}"),
    ("distinct_2", "distinct pairs", "{:.1%}"),
    ("words", "words", "{:.0f}"),
)
OF_TRAINING = (
    ("unknown_words", "words not in the training text", "{:.2%}"),
    ("copied", "longest copied run, in words", "{:.1f}"),
)
COMPARED = ("retrieved", "reciprocal_rank", "ending_bits_per_byte", "faults")
TITLE = "# What it is worth to choose\n"
EXPLAINED = """\
The model tells stories that lead to endings of held-out stories; `{judge}`, which had no part in
the model and chose none of the stories, measures. It did have a part in how they are chosen. The
weights by which `tell --best-of` ranks were set with it on 39 held-out endings, of which there is
no record: some may be among these. When that command gives stories up was set with it on 40 others.
It must tell which of the {count} endings belongs to a story whose ending is withheld (R@1, mean
reciprocal rank), and says how likely story and ending are. A fault is one that a reader sees: a
content word over 8% of all words, no beginning, a name in the ending that the story has not or
another name for its hero, an open quotation. In brackets the interval of drawing other endings
(95%; of shares by Wilson, else by bootstrap). CPU seconds are those of a story on one core, telling
and choosing together. The forward half chooses as it does for `tell --best-of`, which gives most of
the {best_of} up early; for this table, where others choose among them too, all are written.

Model: {model}, {parameters:,} parameters; seed {seed}; {settings}.
These settings were the best of eight, which were tried on these same endings.

**To rerun**: `python tools/evaluation_table.py --model MODEL --judge stories260K.bin
--judge-tokenizer tok512.bin --valid valid.txt --count {count} --smaller stories4m
--training train.txt`, and `tools/meeting_table.py` with the same model, judge and stories and a
count of its own. Both go on where they were stopped. stories4m was the built-in model before,
until commit cf2d629.
"""
ABOUT_WEIGHTS = """\
The weight of a story's own likelihood beside that under the forward half, both for each byte, was
chosen by how likely the endings are, on {count} that are not among those above
(`tools/evaluation_weight.py`; {best_of} stories each, {best:g} is best):
"""
BY_SENTENCE = """\
The same choice at every sentence was tried too, eight sentences at a time, by the forward half of
stories4m, the built-in model before, and is gone: on 40 endings no difference from one story was
shown (R@1 +8%, -10% to +25%; faults +0.02, -0.10 to +0.15), a story took 4.1 times as long, and its
first words came after 0.33 CPU seconds.
"""
ABOUT_SEAMS = """\
Against random seams, which have the same left sides (paired, bootstrap over these, 95%): by the
model {own}, by `{judge}` {by_judge}.
A difference is shown where that leaves out zero.
"""
ABOUT_MEETINGS = """\
## Meeting in the middle

{count} held-out stories gave their first sentence and their last, and `tell --begin` wrote what
lies between. A seam is good if it surprises no more than nine in ten of the {boundaries} sentence
boundaries of the real stories. It is measured twice: by the model's own two directions, which chose
it, and by `{judge}`, which reads forwards only and had no part in it. A random seam joins the
beginning of one meeting to the ending of another. Recognised: which of the {count} endings belongs
to what stands before it, and which of the beginnings to what stands after it; "across the seam"
only what was written from the other side is shown.
"""


def write_report(folder: Path, target: Path) -> None:
    """Write what is there of the rows and the meetings."""
    parts = [TITLE]
    rows = {name: _read(folder / f"{name}.json") for name in LABELS}
    known = {name: row for name, row in rows.items() if row is not None}
    if known:
        parts += _table_of_rows(known)
    training = _read(folder / "training.json")
    if training is not None:
        parts += _training(training, known)
    weights = _read(folder / "weights.json")
    if weights is not None:
        parts += _weights(weights)
    cost = _read(folder / "cost.json")
    if cost is not None:
        parts += [*_cost(cost), BY_SENTENCE]
    meetings = _read(folder / "meetings.json")
    if meetings is not None and "summary" in meetings:
        parts += _meetings(meetings)
    files.write_text(target, "\n".join(parts))


def _read(path: Path) -> Result | None:
    content: Result | None = json.loads(path.read_text()) if path.exists() else None
    return content


def _table_of_rows(rows: dict[str, Result]) -> list[str]:
    about = rows["real"]["about"]
    settings = ", ".join(f"{key} {value:g}" for key, value in about["settings"].items() if value)
    for row in rows.values():
        own = {key: _estimated(key, one, about["seed"]) for key, one in row["figures"].items()}
        row["figures"] = own | {"faults": _faults(own, about["seed"])}
    head = ["", *(label for _, label, _ in COLUMNS), "CPU s"]
    lines = [
        [
            _label(name, row["about"]),
            *(_cell(row["figures"][key], form) for key, _, form in COLUMNS),
            f"{row['cpu_seconds']:.1f}" if row["cpu_seconds"] else "",
        ]
        for name, row in rows.items()
    ]
    found = retrieval.chance(about["count"])
    chance = [form.format(found[key]) if key in found else "" for key, _, form in COLUMNS]
    lines.append(["chance", *chance, ""])
    parts = [EXPLAINED.format(**{**about, "settings": settings}), markdown(head, lines)]
    one = rows.get("one")
    if one is not None:
        others = {name: row for name, row in rows.items() if name not in ("real", "shuffled")}
        parts += _differences(one, others, about)
    return parts


def _training(content: Result, rows: dict[str, Result]) -> list[str]:
    """What the training text says of each row."""
    lines = [
        [_label(name, rows[name]["about"])]
        + [_cell(content["rows"][name][key], form) for key, _, form in OF_TRAINING]
        for name in LABELS
        if name in content["rows"] and name in rows
    ]
    said = f"Beside the text that the model was trained on, `{content['about']['training']}`:\n"
    return [said, markdown(["", *(label for _, label, _ in OF_TRAINING)], lines)]


def _weights(content: Result) -> list[str]:
    """What each weight of a story's own likelihood chooses."""
    shown = [(label, form, key) for key, label, form in COLUMNS]
    shown = [one for one in shown if one[2] in next(iter(content["rows"].values()))]
    lines = [
        [f"weight {name}" if name[0].isdigit() else f"`{name}`"]
        + [form.format(row[key]) for _, form, key in shown]
        for name, row in content["rows"].items()
    ]
    said = ABOUT_WEIGHTS.format(**content["about"], best=content["best"])
    return [said, markdown(["", *(label for label, _, _ in shown)], lines)]


def _cost(content: Result) -> list[str]:
    """What a story by itself takes in each way."""
    ways, heads = content["ways"], ["", "CPU s", "against one", "first words after", "tokens/s"]
    lines = [
        [
            _label(name, content["about"]),
            f"{way['seconds']:.2f}",
            f"{way['seconds'] / ways['one']['seconds']:.1f}×",
            f"{way['first']:.3f} s",
            f"{way['tokens'] / way['seconds']:,.0f}",
        ]
        for name, way in ways.items()
    ]
    said = "What one story takes when it is told by itself (above, 64 are told at a time):\n"
    return [said, markdown(heads, lines)]


def _faults(figures: Result, seed: int) -> Result:
    """How many faults a story has, from the shares of stories that have each."""
    values = np.sum([figures[key]["values"] for key in FAULTS], axis=0)
    return _estimated("faults", {"values": values.tolist(), "weights": [1.0] * len(values)}, seed)


def _estimated(key: str, figure: Result, seed: int) -> Result:
    """A figure with the mean and the interval of its values."""
    values, weights = _weighted(figure)
    if key in _SHARES:
        values = values.astype(bool)
    drawn = bootstrap.resamples(len(values), seed)
    return figure | vars(bootstrap.estimate(values, weights, drawn))


def _weighted(figure: Result) -> tuple[np.ndarray, np.ndarray]:
    return np.array(figure["values"], float), np.array(figure["weights"], float)


def _label(name: str, about: Result) -> str:
    return LABELS[name].format(**{**about, "smaller": Path(about.get("smaller", "")).name})


def _cell(figure: Result, form: str) -> str:
    mean, low, high = (form.format(figure[key]) for key in ("mean", "low", "high"))
    return f"{mean} ({low} to {high})"


def _differences(one: Result, others: dict[str, Result], about: Result) -> list[str]:
    """How the rows differ from one story, ending by ending, and what that comes to in words."""
    shown = {key: (label, form) for key, label, form in COLUMNS if key in COMPARED}
    lines, said = [], []
    for name, row in others.items():
        if row is one:
            continue
        found = {key: _difference(row, one, key, about["seed"]) for key in COMPARED}
        cells = [_signed(found[key], shown[key][1]) for key in COMPARED]
        label = _label(name, row["about"])
        lines.append([label, *cells])
        said.append(f"- {label}: {_in_words(found)}")
    heads = ["against one story", *(shown[key][0] for key in COMPARED)]
    return [
        "Differences from one story, paired by ending:\n",
        markdown(heads, lines),
        "In words (a difference counts where its interval leaves out zero):\n",
        "\n".join(said) + "\n",
    ]


def _difference(row: Result, other: Result, key: str, seed: int) -> tuple[float, float, float]:
    """The difference of two means, and the interval of drawing other endings for both."""
    first, second = (_weighted(own["figures"][key]) for own in (row, other))
    found = bootstrap.difference(first, second, bootstrap.resamples(len(first[0]), seed))
    return found.mean, found.low, found.high


def _signed(values: tuple[float, float, float], form: str) -> str:
    mean, low, high = (form.replace(":", ":+").format(value) for value in values)
    return f"{mean} ({low} to {high})"


def _in_words(found: dict[str, tuple[float, float, float]]) -> str:
    """Which of the measures are better or worse by more than the interval."""
    better: list[str] = []
    worse: list[str] = []
    alike: list[str] = []
    for key, what in _SAID.items():
        _, low, high = found[key]
        fewer_is_better = key in ("ending_bits_per_byte", "faults")
        if low > 0 or high < 0:
            (better if (low > 0) is not fewer_is_better else worse).append(what)
        else:
            alike.append(what)
    parts = [
        f"{verdict} in {_joined(names, 'and')}"
        for verdict, names in (("better", better), ("worse", worse))
        if names
    ]
    if alike:
        parts.append(f"no difference is shown in {_joined(alike, 'or')}")
    return "; ".join(parts) + "."


_SAID = {
    "retrieved": "how often its ending is recognised",
    "reciprocal_rank": "the rank of its ending",
    "ending_bits_per_byte": "how likely its ending is",
    "faults": "faults",
}


def _joined(names: Sequence[str], last: str) -> str:
    return f" {last} ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _meetings(content: Result) -> list[str]:
    summary, about = content["summary"], content["about"]
    counted = {"boundaries": summary["boundaries"], "count": summary["count"]}
    heads = ["", "seams that are good, by the model", f"by `{about['judge']}`", "median bits/byte"]
    seams = [
        [row["label"], *(_good(row[key]) for key in ("own", "judge")), f"{row['median']:.2f}"]
        for row in summary["seams"]
    ]
    found = [[row["label"], *(_share(row[key]) for key in _SIDES)] for row in summary["retrieval"]]
    found.append(["chance", *[f"{retrieval.chance(summary['count'])['retrieved']:.0%}"] * 4])
    met, random = summary["seams"][:2]
    against = {
        name: _signed(_more(met[key], random[key], about["seed"]), "{:.0%}")
        for name, key in (("own", "own"), ("by_judge", "judge"))
    }
    examples = [
        f"{number}. *{one['beginning'].strip()}*{_prose(one['before'])} **|** "
        f"{_prose(one['after'])}*{one['ending'].strip()}*\n"
        for number, one in enumerate(content["meetings"][:5], 1)
    ]
    return [
        ABOUT_MEETINGS.format(**{**about, **counted}),
        markdown(heads, seams),
        ABOUT_SEAMS.format(judge=about["judge"], **against),
        markdown(["recognised (R@1)", *_SIDES.values()], found),
        f"CPU seconds a meeting: {summary['cpu_seconds']:.1f}; rounds: {summary['rounds']:.1f}; "
        f"taken for good by the model's own measure: {summary['good']:.0%}.\n",
        "The first five, unselected; the bar is the seam:\n",
        "\n".join(examples),
    ]


_SIDES = {
    "ending": "ending",
    "beginning": "beginning",
    "ending_across": "ending, across the seam",
    "beginning_across": "beginning, across the seam",
}


def _good(hits: Sequence[int]) -> str:
    found = bootstrap.share(float(np.mean(hits)), len(hits))
    return _share((found.mean, found.low, found.high))


def _more(own: Sequence[int], other: Sequence[int], seed: int) -> tuple[float, float, float]:
    """How much larger a share is than another of the same places."""
    alike, drawn = np.ones(len(own)), bootstrap.resamples(len(own), seed)
    found = bootstrap.difference((np.array(own), alike), (np.array(other), alike), drawn)
    return found.mean, found.low, found.high


def _share(value: Sequence[float] | None) -> str:
    return "" if value is None else "{:.0%} ({:.0%} to {:.0%})".format(*value)


def _prose(text: str) -> str:
    """A text as it may stand in a paragraph of Markdown."""
    return " ".join(text.split()).join((" ", " ")).replace("*", r"\*") if text.strip() else " "


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"
