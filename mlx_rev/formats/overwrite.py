"""What may exist where a model is to be written, and what --force may replace."""

import re
from collections.abc import Collection, Mapping
from pathlib import Path

from mlx_rev import run_folder
from mlx_rev.errors import FormatError
from mlx_rev.fields import read_json
from mlx_rev.formats import sidecar
from mlx_rev.formats.tokenizers.tokenizer_bin import NEIGHBOURS

_OURS = re.compile(
    r"(config|generation_config|tokenizer|tokenizer_config|model\.safetensors\.index)\.json"
    r"|model(-\d{5}-of-\d{5})?\.safetensors|tokenizer\.model|README\.md"
)
"""The names of the files in a model folder that is written here."""


def check_file(target: Path, *, force: bool) -> None:
    """Raise FormatError where a file cannot be written at `target`."""
    if target.is_dir():
        raise FormatError(f"{target}: a folder, but this format is a file; name a file")
    _check_free(target, force)


def check_bin(target: Path, beside: Mapping[Path, bytes], *, force: bool) -> None:
    """Raise FormatError where a .bin, its sidecar and its tokenizer, `beside`, cannot be written.

    Another model's sidecar or tokenizer is not replaced, not even with `force`.
    """
    if target in beside:
        raise FormatError(
            f"{target}: the model's tokenizer is written under that name; choose another"
        )
    check_file(target, force=force)
    described = sidecar.path_of(target)
    if described.exists() and not _is_sidecar(described):
        raise FormatError(
            f"{described}: not written by mlx-rev, but where the sidecar of {target.name} goes; "
            "move it away, or choose another name"
        )
    _check_free(described, force)
    for path, content in beside.items():
        if not path.exists() or (path.is_file() and path.read_bytes() == content):
            continue
        if not (force and target.exists()) or _others(target):
            raise FormatError(
                f"{path}: another model's tokenizer, which that model needs; "
                "write to another folder"
            )


def check_folder(target: Path, *, force: bool, also: Collection[str] = ()) -> None:
    """Raise FormatError where a model folder cannot take the place of `target`.

    With `force`, a folder is replaced only if every entry in it is one that is written here, or is
    called as one of `also`.
    """
    if target.is_symlink():
        raise FormatError(f"{target}: a link, which is not replaced; name the folder itself")
    if target.exists() and not target.is_dir():
        raise FormatError(f"{target}: a file; the mlx format is a folder")
    if not target.exists():
        return
    if Path.cwd().is_relative_to(target.resolve()):
        raise FormatError(
            f"{target}: the working directory, which cannot be replaced; name another"
        )
    entries = sorted(target.iterdir())
    if not entries:
        return
    if any((target / name).exists() for name in (run_folder.CHECKPOINTS, run_folder.TRAINING)):
        raise FormatError(f"{target}: a training run, which is not replaced; choose another folder")
    strange = [path for path in entries if not _is_ours(path) and path.name not in also]
    if strange:
        raise FormatError(
            f"{target}: holds {strange[0].name}, which is not part of a model, so it is not "
            "replaced; choose another folder"
        )
    if not (target / "config.json").exists():
        raise FormatError(f"{target}: holds files but no model; choose another folder")
    _check_free(target, force)


def _check_free(target: Path, force: bool) -> None:
    if target.exists() and not force:
        raise FormatError(f"{target}: exists; choose another name, or replace it with --force")


def _is_ours(path: Path) -> bool:
    return path.is_file() and not path.is_symlink() and bool(_OURS.fullmatch(path.name))


def _is_sidecar(path: Path) -> bool:
    try:
        return read_json(path).has("sha256")
    except FormatError:
        return False


def _others(target: Path) -> bool:
    """Whether the folder has another model that needs the tokenizer there."""
    bins = {path.name for path in target.parent.glob("*.bin") if not path.name.startswith(".")}
    return (target.parent / "config.json").exists() or bool(bins - {target.name, *NEIGHBOURS})
