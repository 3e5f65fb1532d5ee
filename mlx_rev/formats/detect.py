"""Open a model of any format, recognised by its content."""

from dataclasses import replace
from pathlib import Path

from mlx_rev import hub
from mlx_rev.errors import FormatError
from mlx_rev.files import open_regular
from mlx_rev.formats import gguf, huggingface, llama2c, safetensors, sidecar
from mlx_rev.formats.huggingface import TOKENIZER_FILE
from mlx_rev.formats.model_file import ModelFile
from mlx_rev.formats.tokenizers import tokenizer_bin
from mlx_rev.text.order import Order
from mlx_rev.text.tokenizer import Tokenizer

CHECKPOINTS = "checkpoints"
"""The folder of a run's checkpoints; `best` and `latest` in it are links."""

SHIPPED = Path("weights", "stories1m")
"""The model that comes with the project: in its folder, or, installed, in the package."""


def shipped_model() -> Path:
    """The folder of the model that is taken when none is named. Raises FormatError."""
    package = Path(__file__).parents[1]
    for base in (package, package.parent):
        if (base / SHIPPED).is_dir():
            return base / SHIPPED
    raise FormatError(f"no model named, and {SHIPPED} is not where mlx-rev is; give --model")


def open_model(
    reference: str | Path,
    *,
    tokenizer: Path | Tokenizer | None = None,
    order: Order | None = None,
) -> ModelFile:
    """Open a training run (its best checkpoint), a model folder, a .bin, a .gguf, or hf:….

    `tokenizer` (one, or a SentencePiece .model, a tokenizer.json or .bin) and `order` stand in
    for what the file does not say, and take the place of what it says. Raises FormatError.
    """
    path = hub.fetch_model(str(reference)) if hub.is_reference(str(reference)) else Path(reference)
    given = read_tokenizer(tokenizer) if isinstance(tokenizer, Path) else tokenizer
    model = _open_folder(path, given) if path.is_dir() else _open_file(path, given)
    if order is not None:
        model = replace(model, order=order)
    if model.tokenizer is not None and model.tokenizer.vocab_size != model.config.vocab_size:
        raise FormatError(
            f"{reference}: has a vocabulary of {model.config.vocab_size}, its tokenizer of "
            f"{model.tokenizer.vocab_size}; give the right one with --tokenizer"
        )
    return model


def model_folder(path: Path) -> Path:
    """The folder with config.json that `path` stands for."""
    for candidate in (path, *(path / CHECKPOINTS / name for name in ("best", "latest"))):
        if huggingface.recognises(candidate):
            return candidate
    raise FormatError(f"{path}: no model in it; expected config.json or {CHECKPOINTS}/best")


def read_tokenizer(path: Path) -> Tokenizer:
    """A tokenizer from a SentencePiece .model, a tokenizer.json made from one, or a llama2.c
    tokenizer.bin, told by content."""
    try:
        with open_regular(path) as file:
            start = file.read(64)
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror})") from error
    if start.startswith(b"{"):
        return huggingface.read_tokenizer_json(path)
    return tokenizer_bin.read(path) if tokenizer_bin.recognises(start) else Tokenizer.load(path)


def is_tokenizer(path: Path) -> bool:
    """Whether a file is a tokenizer.bin, SentencePiece .model or tokenizer.json, not a model."""
    if not path.is_file():
        return False
    with open_regular(path) as file:
        start = file.read(64)
    named = {".model": b"\n", ".json": b"{"}.get(path.suffix)
    return tokenizer_bin.recognises(start) or start[:1] == named


def _open_folder(path: Path, tokenizer: Tokenizer | None) -> ModelFile:
    return huggingface.read_folder(model_folder(path), tokenizer=tokenizer)


def _open_file(path: Path, tokenizer: Tokenizer | None) -> ModelFile:
    try:
        size = path.stat().st_size
        with open_regular(path) as file:
            start = file.read(llama2c.LONGEST_HEADER)
    except FileNotFoundError as error:
        raise FormatError(
            f"{path}: no such model; expected a training run, a model folder, a .bin, a .gguf, "
            "or hf:owner/repo"
        ) from error
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror})") from error
    if start.startswith(gguf.MAGIC):
        return gguf.read(path, tokenizer=tokenizer)
    if safetensors.recognises(start, size):
        return _open_folder(path.parent, tokenizer)
    if tokenizer_bin.recognises(start):
        raise FormatError(f"{path}: a tokenizer.bin, not a model; give the model.bin beside it")
    if path.suffix != ".bin" and not llama2c.recognises(start, size):
        raise FormatError(
            f"{path}: not a model that is known; expected llama2.c's .bin, GGUF or safetensors"
        )
    return _with_neighbours(llama2c.read(path), path, tokenizer)


def _with_neighbours(model: ModelFile, path: Path, tokenizer: Tokenizer | None) -> ModelFile:
    """The model of a .bin with the sidecar that lies beside it, and the tokenizer: the one given,
    or else the one there."""
    described = sidecar.read(path)
    found = _tokenizer_beside(model, path, described) if tokenizer is None else tokenizer
    if described is None:
        return replace(model, tokenizer=found)
    provenance = {"corpus_sha256": described.corpus_sha256} if described.corpus_sha256 else {}
    return replace(model, tokenizer=found, order=described.order, provenance=provenance)


def _tokenizer_beside(
    model: ModelFile, path: Path, described: sidecar.Sidecar | None
) -> Tokenizer | None:
    """The first tokenizer beside a .bin that has its vocabulary and is the one described."""
    size = model.config.vocab_size
    names = (TOKENIZER_FILE, tokenizer_bin.TOKENIZER_BIN, f"tok{size}.bin")
    paths = [path.with_name(name) for name in names if path.with_name(name).is_file()]
    wrong: Tokenizer | None = None
    for tokenizer in map(read_tokenizer, paths):
        if tokenizer.vocab_size != size:
            continue
        if described is None or described.fits(tokenizer):
            return tokenizer
        wrong = wrong or tokenizer
    if wrong is not None and described is not None:
        raise FormatError(
            f"{path}: was trained with the tokenizer {str(described.tokenizer_sha256)[:12]}…, "
            f"beside it lies {wrong.fingerprint[:12]}…; put the right tokenizer.model there, or "
            "name one with --tokenizer"
        )
    return None
