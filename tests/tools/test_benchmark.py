"""The benchmark's programs by others: what they are given and what they say."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import benchmark
import contestants
import pytest

from mlx_rev.formats.detect import open_model

SHAPE = contestants.SHAPES["tiny"]._replace(rows=1)
FAKE = """#!{python}
import json, os, pathlib, sys
given = [sys.argv[1:], os.environ["OMP_NUM_THREADS"]]
pathlib.Path({folder!r}, "given").write_text(json.dumps(given))
{says}
"""


@pytest.mark.parametrize(
    ("kind", "says", "told"),
    [
        ("llama.cpp", 'print(json.dumps([{"n_gen": 128, "avg_ns": 500_000_000}]))', (128, 0.5)),
        ("run.c", 'sys.stderr.write("achieved tok/s: 256.0\\n")', (128, 0.5)),
    ],
)
def test_a_program_gets_our_weights_and_times_itself(
    kind: str,
    says: str,
    told: tuple[int, float],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    program = tmp_path / "program"
    program.write_text(FAKE.format(python=sys.executable, folder=str(tmp_path), says=says))
    program.chmod(0o755)
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "3")
    monkeypatch.setattr(sys, "argv", ["contestants.py", "", "", str(program)])
    rounds = contestants.KINDS[f"{kind}-tells"](SHAPE)
    assert rounds(128) == told
    given, threads = json.loads((tmp_path / "given").read_text())
    assert threads == "3"
    # run.c begins to count behind the first.
    assert given[given.index("-n") + 1] == ("129" if kind == "run.c" else "128")
    [model] = [Path(argument) for argument in given if argument.endswith((".gguf", ".bin"))][:1]
    opened = open_model(model)
    assert (opened.config.dim, opened.config.vocab_size) == (SHAPE.dim, SHAPE.vocabulary)
    rounds(0)
    assert not model.exists()


def test_programs_are_found_where_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bin" / "python"))
    assert benchmark.programs(benchmark.Options()) == {}
    (tmp_path / "llama-bench").write_text("#!/bin/sh\n")
    (tmp_path / "llama-bench").chmod(0o755)
    found = benchmark.programs(benchmark.Options(run_c=tmp_path / "run"))
    assert found == {
        "llama.cpp-tells": str(tmp_path / "llama-bench"),
        "run.c-tells": str(tmp_path / "run"),
    }


def test_another_checkout_takes_part(tmp_path: Path) -> None:
    script = tmp_path / "tools" / "contestants.py"
    script.parent.mkdir()
    script.write_text(
        "import json, sys\n"
        "assert sys.argv[1:] == ['mlx-rev', '1,2,3,4,5,6,7,8'], sys.argv\n"
        "print('ready', flush=True)\n"
        "for line in sys.stdin:\n"
        "    print(json.dumps({'seconds': 0.5, 'tokens': 4 * int(line)}), flush=True)\n"
        "print(json.dumps({'peak': 7}))\n"
    )
    options = benchmark.Options(before=tmp_path, rounds=3)
    assert benchmark.training_contestants(options)[-1] == "before-mlx-rev"
    assert benchmark.telling_contestants(options, rows=64)[-1] == "before-mlx-rev-tells"
    kinds = ("before-mlx-rev",)
    assert benchmark.training_contestants(replace(options, only=kinds)) == kinds
    [result] = benchmark.compare("x", contestants.Shape(*range(1, 9)), kinds, options)
    assert (result.speeds, result.peak_bytes) == ([80, 80, 80], 7)
