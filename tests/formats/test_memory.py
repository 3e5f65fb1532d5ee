"""Conversion streams: it takes memory for a weight, not for the model."""

import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

DIM, HIDDEN, LAYERS, HEADS, VOCABULARY, CONTEXT = 512, 2048, 36, 8, 32_000, 64
LARGEST = VOCABULARY * DIM * 4
LAYER = 4 * (4 * DIM * DIM + 3 * DIM * HIDDEN + 2 * DIM)

PROGRAM = """
import resource, sys
from pathlib import Path
from mlx_rev.formats.convert import Dtype, Format, convert
from mlx_rev.formats.opening import open_model
convert(open_model(sys.argv[1]), Path(sys.argv[2]), Format(sys.argv[3]), Dtype(sys.argv[4]))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(peak if sys.platform == "darwin" else peak * 1024)
"""


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A llama2.c .bin of 670 MB, nearly all of it a hole."""
    path = tmp_path / "large.bin"
    size = 28 + LARGEST + LAYERS * LAYER + 4 * DIM + 4 * CONTEXT * DIM // HEADS
    with open(path, "wb") as file:
        file.write(struct.pack("<7i", DIM, HIDDEN, LAYERS, HEADS, HEADS, VOCABULARY, CONTEXT))
        file.truncate(size)
    pieces = [b"<unk>", b"\n<s>\n", b"\n</s>\n", *(b"<0x%02X>" % byte for byte in range(256))]
    pieces += [b"w%d" % number for number in range(VOCABULARY - len(pieces))]
    records = [struct.pack("<fi", -n, len(piece)) + piece for n, piece in enumerate(pieces)]
    (tmp_path / "tokenizer.bin").write_bytes(struct.pack("<I", 7) + b"".join(records))
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("to", "dtype"),
    [("llama2c", "float32"), ("llama2c-v2", "q8"), ("mlx", "float32"), ("gguf", "q8")],
)
def test_peak_memory(large: Path, tmp_path: Path, to: str, dtype: str) -> None:
    (tmp_path / "written").mkdir()
    target = tmp_path / "written" / {"mlx": "out", "gguf": "out.gguf"}.get(to, "out.bin")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, large, target, to, dtype],
        capture_output=True,
        text=True,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        check=True,
    )
    assert large.stat().st_size > 2 * (3 * LARGEST)
    assert int(done.stdout) <= 3 * LARGEST + 200_000_000
