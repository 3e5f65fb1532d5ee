"""Conversion streams: it takes memory for a weight, not for the model."""

import os
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

HEADS, VOCABULARY, CONTEXT = 8, 32_000, 64
WIDTH = {"many layers": (512, 2048, 36), "a large embedding": (2048, 512, 1)}
"""dim, hidden_dim and layers of models of 670 and 330 MB."""

PROGRAM = """
import resource, sys
from pathlib import Path
from mlx_rev.formats.convert import convert
from mlx_rev.config import Dtype
from mlx_rev.formats.detect import open_model
convert(open_model(sys.argv[1]), Path(sys.argv[2]), (sys.argv[3]), Dtype(sys.argv[4]))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(peak if sys.platform == "darwin" else peak * 1024)
"""


def hollow(folder: Path, dim: int, hidden: int, layers: int) -> Path:
    """A llama2.c .bin, nearly all of it a hole, and its tokenizer."""
    path = folder / "large.bin"
    layer = 4 * (4 * dim * dim + 3 * dim * hidden + 2 * dim)
    size = 28 + VOCABULARY * dim * 4 + layers * layer + 4 * dim + 4 * CONTEXT * dim // HEADS
    with open(path, "wb") as file:
        file.write(struct.pack("<7i", dim, hidden, layers, HEADS, HEADS, VOCABULARY, CONTEXT))
        file.truncate(size)
    pieces = [b"<unk>", b"\n<s>\n", b"\n</s>\n", *(b"<0x%02X>" % byte for byte in range(256))]
    pieces += [b"w%d" % number for number in range(VOCABULARY - len(pieces))]
    records = [struct.pack("<fi", -n, len(piece)) + piece for n, piece in enumerate(pieces)]
    (folder / "tokenizer.bin").write_bytes(struct.pack("<I", 7) + b"".join(records))
    return path


def peak(source: Path, target: Path, to: str, dtype: str) -> int:
    """Bytes that a conversion in a process of its own takes at most."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, source, target, to, dtype],
        capture_output=True,
        text=True,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        check=True,
    )
    return int(done.stdout)


def name_of(to: str) -> str:
    return {"mlx": "out", "gguf": "out.gguf"}.get(to, "out.bin")


@pytest.mark.slow
@pytest.mark.parametrize("width", WIDTH)
@pytest.mark.parametrize(
    ("to", "dtype"),
    [
        *(("llama2c", "float32"), ("llama2c-v2", "q8")),
        *(("mlx", "float32"), ("mlx", "bfloat16"), ("mlx", "q8")),
        *(("gguf", "float32"), ("gguf", "float16"), ("gguf", "q8")),
    ],
)
def test_peak_memory_there_and_back(width: str, to: str, dtype: str) -> None:
    dim, hidden, layers = WIDTH[width]
    limit = 3 * VOCABULARY * dim * 4 + 200_000_000
    # not tmp_path, which would keep gigabytes
    with tempfile.TemporaryDirectory() as folder:
        source = hollow(Path(folder), dim, hidden, layers)
        there = Path(folder, "there", name_of(to))
        assert peak(source, there, to, dtype) <= limit
        assert peak(there, Path(folder, "back", "out.bin"), "llama2c", "float32") <= limit
