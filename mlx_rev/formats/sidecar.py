"""What a .bin has no field for, in a JSON file beside it: model.bin.json for model.bin."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlx_rev import files
from mlx_rev.errors import FormatError
from mlx_rev.fields import read_json
from mlx_rev.formats.model_file import ModelFile, order_in, provenance_in
from mlx_rev.formats.settings import Settings, settings_in
from mlx_rev.formats.tokenizers.tokenizer_bin import pieces_fingerprint
from mlx_rev.text.order import Order
from mlx_rev.text.sentencepiece import SentencePiece
from mlx_rev.text.tokenizer import Tokenizer

_END = "eos_token_id"


@dataclass(frozen=True)
class Sidecar:
    """Its content."""

    order: Order | None
    tokenizer_sha256: str | None
    """None where it is not known; empty for a model that was written without a tokenizer."""
    tokenizer_pieces_sha256: str | None
    """Of the tokenizer.bin: the same for a tokenizer that was rebuilt from its pieces."""
    provenance: dict[str, str] = field(default_factory=dict)
    settings: Settings = field(default_factory=dict)
    end_of_text: int | None = None

    def fits(self, tokenizer: Tokenizer) -> bool:
        """Whether the model was trained with `tokenizer`, as far as is known."""
        if self.tokenizer_sha256 in (None, tokenizer.fingerprint):
            return True
        if not isinstance(tokenizer, SentencePiece):
            return False
        return self.tokenizer_pieces_sha256 == pieces_fingerprint(tokenizer)


def path_of(model: Path) -> Path:
    """Where the sidecar of a file is."""
    return model.with_name(model.name + ".json")


def write(target: Path, content_sha256: str, model: ModelFile) -> None:
    """Describe the file `target`, which holds `model`."""
    described: dict[str, Any] = {"sha256": content_sha256, **model.provenance}
    if model.order is not None:
        described["reversal"] = model.order.name
    described["tokenizer_sha256"] = ""
    if model.tokenizer is not None:
        described["tokenizer_sha256"] = model.tokenizer.fingerprint
        if isinstance(model.tokenizer, SentencePiece):
            described["tokenizer_pieces_sha256"] = pieces_fingerprint(model.tokenizer)
    if model.end_of_text != model.boundary:
        described[_END] = model.end_of_text
    if model.settings:
        described["generation"] = dict(model.settings)
    files.write_text(path_of(target), json.dumps(described, indent=1) + "\n")


def read(model: Path) -> Sidecar | None:
    """The sidecar of a file, None if there is none.

    Raises FormatError if it is damaged, or describes other content than the file has.
    """
    path = path_of(model)
    if not path.is_file():
        return None
    described = read_json(path)
    expected = described.text("sha256")
    optional = {
        name: described.text(name) if described.has(name) else None
        for name in ("tokenizer_sha256", "tokenizer_pieces_sha256")
    }
    found = Sidecar(
        order=order_in(described, "reversal"),
        provenance=provenance_in(described),
        settings=settings_in(described.object("generation")),
        end_of_text=described.integer(_END) if described.has(_END) else None,
        **optional,
    )
    if (actual := files.sha256_file(model)) != expected:
        raise FormatError(
            f"{model}: its sha256 is {actual[:12]}…, but {path.name} says {expected[:12]}…; "
            "the file is damaged or another one: convert again, or remove the .json"
        )
    return found
