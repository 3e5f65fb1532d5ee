"""The smallest format: a magic number, the configuration as JSON, the weights in a row."""

import dataclasses
import json
from pathlib import Path

import numpy as np

from mlx_rev import files
from mlx_rev.config import Dtype, ModelConfig
from mlx_rev.formats import names, overwrite
from mlx_rev.formats.format import Format, Written
from mlx_rev.formats.model_file import ModelFile
from mlx_rev.text.tokenizer import Tokenizer

MAGIC = b"toy\n"


def read(path: Path, tokenizer: Tokenizer | None) -> ModelFile:
    head, _, data = path.read_bytes().removeprefix(MAGIC).partition(b"\n")
    config = ModelConfig(**json.loads(head))
    numbers = iter(np.frombuffer(data, "<f4"))
    weights = {
        name: np.fromiter(numbers, np.float32, int(np.prod(shape))).reshape(shape)
        for name, shape in names.shapes(config).items()
    }
    return ModelFile(str(path), config, weights.__getitem__, tokenizer)


def write(model: ModelFile, target: Path, dtype: Dtype, force: bool) -> Written:
    overwrite.check_file(target, force=force)
    head = json.dumps(dataclasses.asdict(model.config)).encode()
    weights = b"".join(weight.astype("<f4").tobytes() for _, weight in model.weights())
    files.write_bytes(target, MAGIC + head + b"\n" + weights)
    return Written([target])


FORMAT = Format(
    name="toy",
    summary="for tests",
    suffix=".toy",
    dtypes=(Dtype.FLOAT32,),
    recognises=lambda source: source.start.startswith(MAGIC),
    read=read,
    write=write,
    how_to_run=lambda target, model: f"toy {target}",
    program="a toy",
)
