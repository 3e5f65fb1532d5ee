"""Files of other programs that cannot be read here: each named, with a remedy."""

from pathlib import Path

from mlx_rev.errors import FormatError
from mlx_rev.formats.format import Source
from mlx_rev.formats.tokenizers import tokenizer_bin

_ONNX, _HDF5 = "an ONNX model", "a Keras or HDF5 file"
_PICKLE, _ZIP = b"\x80\x02", b"PK\x03\x04"
_OLD_GGML = (b"lmgg", b"fmgg", b"tjgg")
"""The magic numbers of llama.cpp's formats before GGUF: ggml, ggmf, ggjt."""
_AS_SAFETENSORS = (
    "load it with transformers and save it with model.save_pretrained(folder), which writes "
    "safetensors"
)


def check(source: Source) -> None:
    """Raise FormatError where a file is known to be something that cannot be read here."""
    path, start = source.path, source.start
    if path.is_dir():
        return
    if path.name == "config.json" and start.startswith(b"{"):
        raise FormatError(f"{path}: a model's settings; name its folder, {path.parent}")
    if start.startswith(_ZIP) and (path.suffix == ".npz" or b".npy" in start[:200]):
        raise FormatError(f"{path}: arrays of NumPy or an early mlx; {_remedy_for_npz()}")
    if start.startswith((_ZIP, _PICKLE)):
        raise FormatError(
            f"{path}: a PyTorch checkpoint; if it is llama2.c's, its export.py turns it into a "
            f".bin (--checkpoint {path.name}), otherwise {_AS_SAFETENSORS}"
        )
    if start.startswith(_OLD_GGML):
        raise FormatError(
            f"{path}: a ggml file from before GGUF; make a GGUF file from the original model"
        )
    if path.suffix == ".onnx" or start.startswith(b"\x89HDF"):
        what = _ONNX if path.suffix == ".onnx" else _HDF5
        raise FormatError(f"{path}: {what}; use the model's safetensors or GGUF instead")
    if tokenizer_bin.recognises(start) or tokenizer_bin.is_early(start):
        raise FormatError(f"{path}: a tokenizer.bin, not a model; give the model.bin beside it")
    if start.startswith(b"\n") and path.suffix == ".model":
        raise FormatError(f"{path}: a tokenizer, not a model; give the model's folder or file")


def missing_weights(folder: Path, expected: str) -> FormatError:
    """What to raise where a model folder lacks its weights: by what it has instead."""
    names = sorted(path.name for path in folder.iterdir())
    shards = [name for name in names if name.endswith(".safetensors")]
    if len(shards) > 1:
        return FormatError(
            f"{folder}: holds {len(shards)} safetensors files and no {expected}.index.json, which "
            "says which file has which tensor; fetch that file too"
        )
    if shards:
        return FormatError(
            f"{folder}: its weights are in {shards[0]}; expected {expected}: rename it, or fetch "
            f"{expected}.index.json too"
        )
    if any(name.startswith("pytorch_model") for name in names):
        return FormatError(f"{folder}: holds only PyTorch's pytorch_model.bin; {_AS_SAFETENSORS}")
    if any(name.endswith(".npz") for name in names):
        return FormatError(f"{folder}: its weights are in an .npz; {_remedy_for_npz()}")
    if other := [name for name in names if name.endswith((".pt", ".pth", ".ckpt"))]:
        return FormatError(f"{folder}: holds only PyTorch's {other[0]}; {_AS_SAFETENSORS}")
    return FormatError(f"{folder}: has no {expected}; fetch the weights")


def _remedy_for_npz() -> str:
    return "make the folder again from the original model with a current mlx_lm.convert"
