"""What lies beside a model file that has no room for it: a sidecar and the tokenizer."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from mlx_rev import files
from mlx_rev.errors import FormatError
from mlx_rev.formats import overwrite, sidecar
from mlx_rev.formats.format import Written
from mlx_rev.formats.model_file import ModelFile
from mlx_rev.formats.tokenizers import limits, tokenizer_bin
from mlx_rev.formats.tokenizers.detect import read_tokenizer
from mlx_rev.text.tokenizer import Tokenizer


def write(
    model: ModelFile, target: Path, content: Callable[[Path], dict[str, float]], *, force: bool
) -> Written:
    """Write a file with `content`, and beside it its sidecar and the tokenizer in llama2.c's form
    and in its own. `content` returns the errors of the weights."""
    beside: dict[Path, bytes] = {}
    if model.tokenizer is not None:
        tokenizer = limits.check_bin(model.tokenizer, model.source)
        contents = tokenizer_bin.to_bytes(tokenizer), tokenizer.content
        beside = {
            target.with_name(name): made
            for name, made in zip(tokenizer_bin.NEIGHBOURS, contents, strict=True)
        }
    overwrite.check_bin(target, beside, force=force)
    with files.atomic_path(target) as temporary:
        errors = content(temporary)
        overwrite.check_bin(target, beside, force=force)  # again: writing takes a while
        checksum = files.sha256_file(temporary)
        sidecar.path_of(target).unlink(missing_ok=True)
    for path, made in beside.items():
        files.write_bytes(path, made)
    sidecar.write(target, checksum, model)
    return Written([target, sidecar.path_of(target), *beside], errors)


def read(model: ModelFile, path: Path, tokenizer: Tokenizer | None) -> ModelFile:
    """The model of a file with the sidecar that lies beside it, and the tokenizer: the one given,
    or else the one there."""
    described = sidecar.read(path)
    found = _tokenizer_beside(model, path, described) if tokenizer is None else tokenizer
    if described is None:
        return replace(model, tokenizer=found)
    return replace(
        model,
        tokenizer=found,
        order=described.order,
        provenance=described.provenance,
        settings=described.settings,
        stated_end=described.end_of_text,
    )


def _tokenizer_beside(
    model: ModelFile, path: Path, described: sidecar.Sidecar | None
) -> Tokenizer | None:
    """The first tokenizer beside a file that has its vocabulary and is the one described."""
    if described is not None and described.tokenizer_sha256 == "":
        return None  # what is there is another model's
    size = model.config.vocab_size
    names = (*reversed(tokenizer_bin.NEIGHBOURS), f"tok{size}.bin")
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
            f"{path}: was trained with the tokenizer {str(described.tokenizer_sha256)[:12]}…, but "
            f"the one beside it is {wrong.fingerprint[:12]}…; put the right tokenizer.model there, "
            "or name one with --tokenizer"
        )
    return None
