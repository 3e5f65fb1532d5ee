"""What a model is called: in full, and where its whole path would be in the way."""

from dataclasses import dataclass
from pathlib import Path

from mlx_rev import hub, run_folder
from mlx_rev.generate.story import Story
from mlx_rev.generate.teller import Teller


@dataclass(frozen=True)
class Named:
    """A loaded model and how a person named it."""

    teller: Teller
    source: str
    """Its reference."""
    reversal: str = ""
    """The --reversal that was given with it, if one was."""
    tokenizer: str = ""
    """The path of the --tokenizer that was given with it, likewise."""

    def sign(self, story: Story) -> None:
        """Say in a story who writes it."""
        story.model, story.reversal, story.tokenizer = self.source, self.reversal, self.tokenizer

    def wrote(self, story: Story) -> bool:
        """Whether a story is by this model, read in the same way."""
        own = self.source, self.reversal, self.tokenizer
        theirs = story.model, story.reversal, story.tokenizer
        return [*map(lasting_reference, own)] == [*map(lasting_reference, theirs)]

    def __str__(self) -> str:
        return _as_given(self.source, self.reversal, self.tokenizer)


def writer(story: Story) -> str:
    """Who wrote a story, as `/model` takes it."""
    return _as_given(story.model, story.reversal, story.tokenizer)


def _as_given(source: str, reversal: str, tokenizer: str) -> str:
    options = ("--reversal", reversal), ("--tokenizer", tokenizer)
    return " ".join([source, *(f"{name} {value}" for name, value in options if value)])


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
    return str(path.absolute()) if reference and path.exists() else reference
