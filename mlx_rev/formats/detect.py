"""Open a model of any format, recognised by its content."""

from dataclasses import replace
from pathlib import Path

from mlx_rev import hub
from mlx_rev.errors import FormatError
from mlx_rev.formats import foreign, huggingface, registry
from mlx_rev.formats.format import Source
from mlx_rev.formats.model_file import ModelFile
from mlx_rev.formats.tokenizers.detect import read_tokenizer
from mlx_rev.text.order import FORWARD, Order
from mlx_rev.text.tokenizer import Tokenizer

BUILT_IN = Path("weights", "stories9m")
"""The built-in model that is used when none is named; others may lie beside it."""


def built_in_models() -> dict[str, Path]:
    """The models that come with the project, by name; each answers to it wherever one is asked
    for. They are in the project's folder or, installed, in the package."""
    package = Path(__file__).parents[1]
    folders = [base / BUILT_IN.parent for base in (package, package.parent)]
    return {
        path.name: path
        for folder in reversed(folders)
        if folder.is_dir()
        for path in sorted(folder.iterdir())
        if huggingface.recognises(path)
    }


def built_in_model() -> Path:
    """The folder of the model that is used when none is named. Raises FormatError."""
    try:
        return built_in_models()[BUILT_IN.name]
    except KeyError:
        raise FormatError(
            f"no model named, and {BUILT_IN} is not where mlx-rev is; give --model"
        ) from None


def open_model(
    reference: str | Path,
    *,
    tokenizer: Path | Tokenizer | None = None,
    order: Order | None = None,
) -> ModelFile:
    """Open a training run (its best checkpoint), a model folder, a .bin, a .gguf, hf:…, or a
    built-in model by its name, where nothing of that name exists.

    `tokenizer` (one, or a SentencePiece .model, a tokenizer.json or .bin) and `order` stand in
    for what the file does not say, and take the place of what it says. Raises FormatError.
    """
    path = _located(reference)
    given = read_tokenizer(tokenizer) if isinstance(tokenizer, Path) else tokenizer
    source = Source.at(path)
    foreign.check(source)
    found = registry.recognised(source)
    if found is None and not path.is_dir():
        found = registry.by_suffix(path) if path.suffix else None
    if found is None:
        raise FormatError(
            f"{path}: no model in it; expected config.json or a training run's checkpoints"
            if path.is_dir()
            else f"{path}: not a known model format; expected llama2.c's .bin, GGUF or safetensors"
        )
    model = _ended(found.read(path, given))
    if order is not None:
        if order is FORWARD and model.order is not None and model.order.also_forward:
            raise FormatError(
                f"{reference}: reads in both directions, and one half cannot be had without the "
                "other; leave out --reversal"
            )
        model = replace(model, order=order)
    if model.tokenizer is not None and model.tokenizer.vocab_size != model.config.vocab_size:
        raise FormatError(
            f"{reference}: has a vocabulary of {model.config.vocab_size}, but its tokenizer has "
            f"{model.tokenizer.vocab_size}; give the right one with --tokenizer"
        )
    return model


def _ended(model: ModelFile) -> ModelFile:
    """A model by others with a tokenizer that closes a text as it does. Raises FormatError."""
    end = model.stated_end
    if end is None or model.order is not None or model.tokenizer is None:
        return model
    if not 0 <= end < model.config.vocab_size:
        raise FormatError(
            f"{model.source}: its eos_token_id is {end}; expected an id of its vocabulary, 0 to "
            f"{model.config.vocab_size - 1}; correct it there"
        )
    return replace(model, tokenizer=model.tokenizer.ending_with(end))


def _located(reference: str | Path) -> Path:
    """Where a model is on this machine. Raises FormatError where it is nowhere."""
    if hub.is_reference(str(reference)):
        return hub.fetch_model(str(reference))
    path = Path(reference)
    if path.exists():
        return path
    known = built_in_models()
    if str(reference) in known:
        return known[str(reference)]
    raise FormatError(
        f"{reference}: no such model; expected a training run, a model folder, a .bin, a .gguf, "
        f"hf:owner/repo, or a built-in model ({', '.join(known) or 'there is none here'})"
    )
