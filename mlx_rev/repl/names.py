"""What a model is called where its whole path would be in the way."""

from pathlib import Path

from mlx_rev import hub, run_folder


def short_name(reference: str) -> str:
    """The last part of a model's reference: of a checkpoint, its run's too."""
    if hub.is_reference(reference):
        return reference.removeprefix("hf:")
    path = Path(reference)
    if path.parent.name == run_folder.CHECKPOINTS:
        return f"{path.parent.parent.name} {path.name}".strip()
    return path.name or reference


def lasting_reference(reference: str) -> str:
    """A model's reference that is good from any folder."""
    path = Path(reference)
    return str(path.absolute()) if path.exists() else reference
