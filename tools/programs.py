"""Programs by others that tell a story with our weights, for tools/contestants.py.

Each function writes random weights as a file that the program reads, and gives what has it write so
many tokens: how many it wrote, and the seconds by its own account. 0 tokens is the end. Importing
this imports nothing of mlx_rev, whose BLAS some contestants must not have.
"""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from mlx_rev.config import ModelConfig
    from mlx_rev.text.tokenizer import Tokenizer

Rounds = Callable[[int], int | tuple[int, float]]


def llama_cpp(config: "ModelConfig", tokenizer: "Tokenizer", program: str, threads: int) -> Rounds:
    """llama.cpp's llama-bench on our GGUF, float32: no prompt, nothing sampled, no text."""
    model = _exported(config, tokenizer, ".gguf")

    def rounds(tokens: int) -> int | tuple[int, float]:
        if not tokens:
            shutil.rmtree(model.parent)
            return 0
        flags = ["-m", model, "-p", 0, "-n", tokens, "-r", 1, "-t", threads, "-o", "json"]
        [told] = json.loads(_run(program, *flags, threads=threads).stdout)
        return int(told["n_gen"]), told["avg_ns"] / 1e9

    return rounds


def run_c(config: "ModelConfig", tokenizer: "Tokenizer", program: str, threads: int) -> Rounds:
    """llama2.c's run on our .bin, sampling as we do; it times itself from the second token on."""
    model = _exported(config, tokenizer, ".bin")

    def rounds(tokens: int) -> int | tuple[int, float]:
        if not tokens:
            shutil.rmtree(model.parent)
            return 0
        flags = ["-z", model.with_name("tokenizer.bin"), "-t", 1.0, "-p", 0.9, "-i", "w7 w8 w9."]
        said = _run(program, model, "-n", tokens + 1, *flags, threads=threads).stderr
        return tokens, tokens / float(said.rpartition("achieved tok/s:")[2])

    return rounds


def _exported(config: "ModelConfig", tokenizer: "Tokenizer", suffix: str) -> Path:
    """Random weights as a file in a folder of its own."""
    from mlx_rev.formats.convert import convert
    from mlx_rev.formats.model_file import ModelFile
    from mlx_rev.model.llama import Llama, get_weights, initialise
    from mlx_rev.text.order import FORWARD

    model = Llama(config)
    initialise(model, 0)
    weights = get_weights(model)
    target = Path(tempfile.mkdtemp()) / f"model{suffix}"
    described = ModelFile(
        source="random weights",
        config=config,
        read=lambda name: np.array(weights[name]),
        tokenizer=tokenizer,
        order=FORWARD,
    )
    convert(described, target)
    return target


def _run(program: str, *arguments: Any, threads: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [program, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": str(threads)},
    )
