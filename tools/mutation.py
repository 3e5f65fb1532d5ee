"""Mutation testing: small faults put into the code on purpose, and whether the tests notice.

    make mutation                                      a sample of every module of four rooms
    make mutation ARGS="mlx_rev/text --sample 30"      a larger one of a room
    make mutation ARGS="mlx_rev/text/order.py:51"      of the code in a line

cosmic-ray makes the mutants and runs the tests on each, in a copy of the working tree. Of each
module so many places in the code are drawn, and one mutant of each; the same seed draws the same.
Only the tests of the module itself are run (`tests_of`), so a survivor may still be caught by
others. What survives is shown: it is either the same program written differently, or a promise that
no test holds the module to.
"""

import ast
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import tyro

if TYPE_CHECKING:
    from cosmic_ray.work_item import WorkItem

ROOT = Path(__file__).resolve().parents[1]

ROOMS = ("model", "train", "generate", "text")
TESTS = {
    "generate/alternatives": ("repl/test_writing.py",),
    "generate/bootstrap": ("generate/test_retrieval.py",),
    "generate/consistency": ("cli/test_score.py",),
    "generate/decode": ("generate/test_reading.py",),
    "generate/teller": ("generate/test_story.py", "generate/test_decode.py"),
    "model/cache": ("model/test_llama.py", "model/test_ops.py"),
    "model/load": ("train/test_checkpoint.py", "generate/test_story.py"),
    "model/micro_batch": ("train/test_step.py",),
    "model/scorer": ("model/test_score.py",),
    "text/byte_level_json": ("text/test_byte_level.py",),
    "text/byte_level_vocabulary": ("text/test_byte_level.py",),
    "text/chunk_encoder": ("text/test_chunk_cache.py",),
    "text/chunk_memory": ("text/test_chunk_cache.py",),
    "text/chunking": ("text/test_chunk_cache.py",),
    "text/load": ("text/test_tokenizer.py",),
    "text/order": ("text/test_codec.py",),
    "text/sentencepiece": ("text/test_chunk_cache.py",),
    "train/events": ("train/test_loop.py",),
    "train/rehearsal": ("ui/test_training.py",),
    "train/runlog": ("train/test_loop.py", "faults/test_run_records.py"),
    "train/step": ("train/test_loss.py",),
}
"""Tests of a module besides its own, tests/ROOM/test_NAME.py, if it has any."""
_STARTING, _SLOWER = 10, 4
"""A mutant whose tests take so many seconds of CPU time and so many times those of the module as it
is, has been noticed: it runs for ever."""
_WAITING = 900
"""Seconds after which tests that wait for something are ended."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Which mutants are tried."""

    modules: tyro.conf.Positional[tuple[str, ...]] = tuple(f"mlx_rev/{room}" for room in ROOMS)
    """Modules or folders below mlx_rev; FILE:LINE for what begins in a line."""
    sample: Annotated[int, tyro.conf.arg(metavar="N")] = 12
    """Places in each module; 0 for all mutants."""
    seed: int = 0
    """Draws the places, and one mutant of each."""


class Score(NamedTuple):
    """What became of a module's mutants."""

    module: str
    mutants: int
    """All that there are."""
    tried: int
    survived: int


def main() -> None:
    """Read the options, try the mutants, print the survivors and a score for each module."""
    options = tyro.cli(Options, description=__doc__)
    scores = []
    with tempfile.TemporaryDirectory(prefix="mlx-rev-mutation-") as folder:
        copy_tree(Path(folder))
        os.chdir(folder)
        os.environ.update(PYTHONPATH=folder, OPENBLAS_NUM_THREADS="1")
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        for module, line in modules_of(options.modules):
            scores.append(try_module(module, line, options))
    print(f"\n{'module':44}{'mutants':>8}{'tried':>8}{'killed':>8}{'score':>8}")
    total = (sum(column) for column in zip(*(score[1:] for score in scores), strict=True))
    for score in (*scores, Score("all", *total)):
        killed = score.tried - score.survived
        share = f"{killed / score.tried:.0%}" if score.tried else ""
        print(f"{score.module:44}{score.mutants:8}{score.tried:8}{killed:8}{share:>8}")


def copy_tree(folder: Path) -> None:
    """Copy what git tracks, or would, as it is now: a mutant never stands in the checkout itself,
    whatever ends this program."""
    listed = ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in names.split("\0"):
        if name and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)


def modules_of(names: Iterable[str]) -> Iterator[tuple[Path, int | None]]:
    """The modules that are asked for, from the root of the repository, and the line, if one is."""
    for name in names:
        given, _, line = name.partition(":")
        path = Path(given)
        if not path.exists():
            sys.exit(f"{given} is not there; expected a module or a folder below mlx_rev")
        for module in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            if module.stat().st_size and not module.name.startswith("__"):
                yield module, int(line) if line else None


def tests_of(module: Path) -> list[str]:
    """The tests of a module: its mirror in tests/, and those named in TESTS."""
    name = module.relative_to("mlx_rev").with_suffix("")
    places = (f"{name.parent}/test_{name.name}.py", *TESTS.get(str(name), ()))
    return [test for place in places if Path(test := f"tests/{place}").exists()]


def try_module(module: Path, line: int | None, options: Options) -> Score:
    """Run the tests of a module on a sample of its mutants, and print what survives."""
    from cosmic_ray.mutating import mutate_and_test
    from cosmic_ray.work_item import TestOutcome

    if not (tests := tests_of(module)):
        sys.exit(f"{module} has no tests of its own; name some in TESTS in tools/mutation.py")
    command = [sys.executable, *("-m", "pytest", "-x", "-p", "no:cacheprovider")]
    command += ["--hypothesis-profile", "quick", *tests]
    seconds = _passing(module, command)
    limit = f"ulimit -t {_STARTING + round(_SLOWER * seconds)}; exec {' '.join(command)}"
    every, drawn = mutants(module, line, options)
    print(f"{module}: {len(drawn)} of {len(every)} mutants", flush=True)
    survived = 0
    for item in drawn:
        result = mutate_and_test(item.mutations, f"sh -c '{limit}'", _WAITING)
        if result.test_outcome is TestOutcome.INCOMPETENT:
            sys.exit(f"{module}: no mutant could be made or run: {result.output}")
        [mutation] = item.mutations
        lives = result.test_outcome is TestOutcome.SURVIVED
        survived += lives
        fate, what = "SURVIVED" if lives else "killed", mutation.operator_name.partition("/")[2]
        print(f"  {fate:9}{module}:{mutation.start_pos[0]} {what}", flush=True)
        if lives:
            print("\n".join(_changed(result.diff or "")), flush=True)
    return Score(str(module), len(every), len(drawn), survived)


def _passing(module: Path, command: Sequence[str]) -> float:
    """The CPU seconds of the tests on the module as it is. They run twice: first Python compiles
    what they import, which it does not do again for every mutant."""
    for _ in range(2):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if done.returncode:
            sys.exit(f"{module}: its tests fail before anything is changed\n{done.stdout}")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def mutants(
    module: Path, line: int | None, options: Options
) -> tuple[list["WorkItem"], list["WorkItem"]]:
    """All mutants of a module, and those to try, in the order of the code."""
    from cosmic_ray.commands.init import init
    from cosmic_ray.work_db import WorkDB, use_db

    with (
        tempfile.TemporaryDirectory() as folder,
        use_db(Path(folder, "db"), WorkDB.Mode.create) as db,
    ):
        init([module], db, {})
        found = list(db.work_items)
    types = declarations(module.read_text(encoding="utf-8"))
    every = sorted(
        (item for item in found if not _within(_start(item), types)),
        key=lambda item: (
            _start(item),
            item.mutations[0].operator_name,
            item.mutations[0].occurrence,
        ),
    )
    if line is not None:
        every = [item for item in every if _start(item)[0] == line]
    if not options.sample:
        return every, every
    places: dict[tuple[int, int], list[WorkItem]] = {}
    for item in every:
        places.setdefault(_start(item), []).append(item)
    generator = random.Random(f"{options.seed} {module}")
    drawn = generator.sample(sorted(places), min(options.sample, len(places)))
    return every, [generator.choice(places[place]) for place in sorted(drawn)]


def declarations(source: str) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Where code only says what there is, from line and column to line and column: types, what kind
    of class a class is, what is abstract. A mutant of that says nothing."""
    found: list[ast.expr | None] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.arg, ast.AnnAssign)):
            found.append(node.annotation)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            abstract = len(node.body) == 1 and ast.get_docstring(node)
            found += [node.returns, *(node.decorator_list if abstract else ())]
        elif isinstance(node, ast.ClassDef):
            found.extend(node.decorator_list)
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            found.append(node.test)
    # From the @ in front of a decorator on.
    return [
        ((one.lineno, one.col_offset - 1), (one.end_lineno or 0, one.end_col_offset or 0))
        for one in found
        if one is not None
    ]


def _start(item: "WorkItem") -> tuple[int, int]:
    row, column = item.mutations[0].start_pos
    return row, column


def _within(
    place: tuple[int, int], spans: Iterable[tuple[tuple[int, int], tuple[int, int]]]
) -> bool:
    return any(first <= place < last for first, last in spans)


def _changed(diff: str) -> Iterator[str]:
    """The lines of a diff that differ."""
    for line in diff.splitlines():
        if line.startswith(("-", "+")) and not line.startswith(("---", "+++")):
            yield f"      {line}"


if __name__ == "__main__":
    main()
