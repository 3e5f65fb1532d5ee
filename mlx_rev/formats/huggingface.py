"""The folder that mlx-lm and transformers load; a checkpoint of ours is one.

config.json holds the shape under transformers' LlamaConfig names, and under "mlx_rev" what that
has no room for: the reversal, and fingerprints of tokenizer and corpus.
"""

import shlex
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np

from mlx_rev import files
from mlx_rev.config import Dtype
from mlx_rev.errors import FormatError, RevError
from mlx_rev.fields import Fields, read_json
from mlx_rev.formats import advice, foreign, overwrite, safetensors
from mlx_rev.formats.format import Format, Source, Written
from mlx_rev.formats.llama_config import config_json, model_config
from mlx_rev.formats.mlx_quantised import check_quantised, group_size_of, quantise, read_quantised
from mlx_rev.formats.model_card import model_card
from mlx_rev.formats.model_file import ModelFile, order_in, provenance_in
from mlx_rev.formats.rows import LargestErrors, row_parts
from mlx_rev.formats.safetensors import Entry, Planned
from mlx_rev.formats.settings import generation_config, settings_in
from mlx_rev.formats.tokenizers import folder as tokenizer_files
from mlx_rev.formats.tokenizers.folder import padded, write_json
from mlx_rev.formats.tokenizers.limits import check_json
from mlx_rev.text.tokenizer import Tokenizer

_GENERATION = "generation_config.json"
CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
_INDEX_FILE = "model.safetensors.index.json"
_MOST_PADDING = 1024
"""Rows of the embedding beyond the tokenizer's pieces: some programs round up."""
_SHARD_BYTES = 5_000_000_000
_DTYPES = {
    Dtype.FLOAT32: "F32",
    Dtype.FLOAT16: "F16",
    Dtype.BFLOAT16: "BF16",
    Dtype.Q8: "F16",
}
"""What safetensors calls the type of a tensor that is not in groups."""


def recognises(folder: Path) -> bool:
    """Whether a folder has a model's config.json."""
    return (folder / CONFIG_FILE).is_file()


def write_folder(
    folder: Path,
    model: ModelFile,
    *,
    dtype: Dtype = Dtype.FLOAT32,
    corpus_fingerprint: str = "",
    shard_bytes: int = _SHARD_BYTES,
) -> dict[str, float]:
    """Write the folder's files one after another; the caller makes the whole atomic.

    q8 is mlx's 8 bits for matrices whose rows its groups divide, float16 for the rest. Returns
    the largest error of each weight that is not stored exactly.
    """
    marks = {"bos_token_id": model.boundary, "eos_token_id": model.end_of_text}
    described = config_json(model.config, Dtype.FLOAT16 if dtype is Dtype.Q8 else dtype) | marks
    extra: dict[str, str] = {"corpus_sha256": corpus_fingerprint, **model.provenance}
    if model.order is not None:
        extra["reversal"] = model.order.name
    if model.tokenizer is not None:
        extra |= tokenizer_files.write(folder, model.tokenizer, model.end_of_text)
    group_size = group_size_of(model) if dtype is Dtype.Q8 else 0
    if group_size:
        described["quantization"] = {"group_size": group_size, "bits": 8}
    write_json(folder / CONFIG_FILE, {**described, "mlx_rev": extra})
    write_json(folder / _GENERATION, marks | generation_config(model.settings))
    return _write_weights(folder, model, _DTYPES[dtype], group_size, shard_bytes)


def read_folder(folder: Path, *, tokenizer: Tokenizer | None = None) -> ModelFile:
    """Open a folder of Llama architecture: ours, mlx-lm's (quantised too) or transformers'.

    A `tokenizer` that is given replaces the folder's, which is then not read. One with fewer pieces
    than the model has rows gets unused ones. A link is followed once, so that all files are of one
    folder though `latest` moves meanwhile; where the folder is removed before they are open, the
    one that took its place is read. Raises FormatError for a file that is missing or damaged,
    another architecture, a wrong name or shape, or a tokenizer that is not the one the model was
    trained with.
    """
    while folder.is_symlink():
        target = folder.resolve()
        try:
            model = _read_folder(target, tokenizer)
        except (RevError, OSError):
            if target.exists() or folder.resolve() == target:
                raise
            continue
        if target.exists():  # Where it went, a file that need not be there may have been.
            return model
    return _read_folder(folder, tokenizer)


def _read_folder(folder: Path, tokenizer: Tokenizer | None) -> ModelFile:
    described = read_json(folder / CONFIG_FILE)
    config = model_config(described)
    extra = described.object("mlx_rev")
    tensors: dict[str, Entry] = {}
    for file in _weight_files(folder):
        tensors.update(safetensors.entries(folder / file))
    quantization = described.object("quantization")

    def read_weight(name: str) -> np.ndarray:
        if _is_quantised(tensors, name):
            return read_quantised(tensors, name, quantization)
        return tensors[name].read()

    found = tokenizer_files.read(folder, described) if tokenizer is None else tokenizer
    if found is not None and 0 < config.vocab_size - found.vocab_size <= _MOST_PADDING:
        found = padded(found, config.vocab_size)
    generation = folder / _GENERATION
    model = ModelFile(
        str(folder),
        config,
        read_weight,
        found,
        order_in(extra, "reversal"),
        provenance_in(extra),
        settings_in(read_json(generation)) if generation.is_file() else {},
        tokenizer_files.end_of_text(described),
    )
    _check_entries(model, tensors, quantization)
    return model


def _write_weights(
    folder: Path, model: ModelFile, dtype: str, group_size: int, shard_bytes: int
) -> dict[str, float]:
    plans: list[dict[str, Planned]] = [{}]
    for name, shape in model.shapes.items():
        tensors = _planned(name, shape, dtype, group_size)
        full = sum(tensor.bytes for tensor in plans[-1].values())
        if plans[-1] and full + sum(tensor.bytes for tensor in tensors.values()) > shard_bytes:
            plans.append({})
        plans[-1].update(tensors)
    errors = LargestErrors(model.source)
    contents = _contents(model, dtype, group_size, errors)
    files = [WEIGHTS_FILE]
    if len(plans) > 1:
        files = [f"model-{i:05d}-of-{len(plans):05d}.safetensors" for i in range(1, len(plans) + 1)]
        index = {name: file for file, plan in zip(files, plans, strict=True) for name in plan}
        total = sum(tensor.bytes for plan in plans for tensor in plan.values())
        write_json(folder / _INDEX_FILE, {"metadata": {"total_size": total}, "weight_map": index})
    for file, plan in zip(files, plans, strict=True):
        own = (next(contents) for _ in plan)
        safetensors.write(folder / file, plan, own, {"format": "mlx"})
    return errors


def _planned(name: str, shape: tuple[int, ...], dtype: str, group_size: int) -> dict[str, Planned]:
    if not group_size or len(shape) < 2 or shape[1] % group_size:
        return {name: Planned(dtype, shape)}
    stem = name.removesuffix("weight")
    scales = Planned(dtype, (shape[0], shape[1] // group_size))
    return {
        name: Planned("U32", (shape[0], shape[1] // 4)),
        stem + "scales": scales,
        stem + "biases": scales,
    }


def _contents(
    model: ModelFile, dtype: str, group_size: int, errors: LargestErrors
) -> Iterator[tuple[str, Iterable[bytes]]]:
    """Each tensor's name and bytes, in parts."""
    for name, weight in model.weights():
        if group_size and weight.ndim == 2 and weight.shape[1] % group_size == 0:
            parts = quantise(weight, group_size, name, errors)
            stem = name.removesuffix("weight")
            yield from zip((name, stem + "scales", stem + "biases"), parts, strict=True)
        else:
            yield name, _rounded(weight, dtype, name, errors)


def _rounded(weight: np.ndarray, dtype: str, name: str, errors: LargestErrors) -> Iterator[bytes]:
    for part in row_parts(weight):
        content = safetensors.encoded(part, dtype)
        if dtype != "F32":
            kept = safetensors.decoded(np.frombuffer(content, np.uint8), dtype)
            errors.note(name, kept, part)
        yield content


def _weight_files(folder: Path) -> list[str]:
    """The names of the files that have the weights of the model in a folder."""
    if not (folder / _INDEX_FILE).is_file():
        if not (folder / WEIGHTS_FILE).is_file():
            raise foreign.missing_weights(folder, WEIGHTS_FILE)
        return [WEIGHTS_FILE]
    index = read_json(folder / _INDEX_FILE)
    places = index.object("weight_map")
    names = sorted({places.text(name) for name in places.values})
    for name in names:
        if Path(name).name != name or "\0" in name:
            raise FormatError(f"{index.source}: names {name!r}, which is not a file beside it")
    return names


def _is_quantised(tensors: Mapping[str, Entry], name: str) -> bool:
    return name.removesuffix("weight") + "scales" in tensors


def _check_entries(model: ModelFile, tensors: Mapping[str, Entry], quantization: Fields) -> None:
    known = set(model.shapes)
    for name, shape in model.shapes.items():
        if name not in tensors:
            raise FormatError(f"{model.source}: {name} is missing")
        if _is_quantised(tensors, name):
            check_quantised(tensors, name, shape, quantization)
            known.update(name.removesuffix("weight") + part for part in ("scales", "biases"))
            continue
        found = tensors[name]
        if found.shape != shape:
            raise FormatError(f"{model.source}: {name} has shape {found.shape}, expected {shape}")
        if not found.is_float:
            raise FormatError(f"{model.source}: {name} is {found.dtype}, expected F32, F16 or BF16")
    for name in tensors:
        tied_copy = model.config.tied and name.startswith("lm_head.")
        if not (name in known or tied_copy or name.endswith("rotary_emb.inv_freq")):
            raise FormatError(
                f"{model.source}: unexpected tensor {name}; a Llama has none of that name"
            )


def _write(model: ModelFile, target: Path, dtype: Dtype, force: bool) -> Written:
    if model.tokenizer is not None:
        check_json(model.tokenizer, model.source)
    overwrite.check_folder(target, force=force)
    named = target.resolve()
    with files.atomic_folder(named) as temporary:
        errors = write_folder(temporary, model, dtype=dtype)
        run = how_to_run(Path(named.name), model)
        card = model_card(model, named.name, run, quantised=dtype is Dtype.Q8)
        (temporary / "README.md").write_text(card, encoding="utf-8", errors="replace")
        overwrite.check_folder(target, force=force)  # again: writing takes a while
    written = sorted(path for path in target.iterdir() if path.is_file())
    return Written(written, errors, _kept_whole(model) if dtype is Dtype.Q8 else ())


def _kept_whole(model: ModelFile) -> tuple[str, ...]:
    """The matrices whose rows the group size does not divide."""
    group_size = group_size_of(model)
    shapes = model.shapes.items()
    return tuple(name for name, shape in shapes if len(shape) > 1 and shape[1] % group_size)


def how_to_run(target: Path, model: ModelFile) -> str:
    """The command line that makes mlx-lm tell a story with a folder."""
    length = f"--max-tokens {model.config.context}"
    command = f"mlx_lm.generate --verbose False {length} --model {shlex.quote(str(target))}"
    return advice.told_by(command, "--prompt", target, model, shows_prompt=False)


def _recognises(source: Source) -> bool:
    """A folder with config.json, or a safetensors file in one."""
    return recognises(source.path) or safetensors.recognises(source.start, source.size)


def _read(path: Path, tokenizer: Tokenizer | None) -> ModelFile:
    if path.is_dir():
        return read_folder(path, tokenizer=tokenizer)
    if path.name not in (names := _weight_files(path.parent)):
        raise FormatError(
            f"{path}: not where the model in its folder has its weights, which is {names[0]}; "
            f"put it into a folder of its own as {WEIGHTS_FILE}, with the config.json and the "
            "tokenizer"
        )
    return read_folder(path.parent, tokenizer=tokenizer)


FORMAT = Format(
    name="mlx",
    summary="a folder for mlx-lm",
    suffix="",
    dtypes=tuple(_DTYPES),
    recognises=_recognises,
    read=_read,
    write=_write,
    how_to_run=how_to_run,
    program="mlx-lm",
)
