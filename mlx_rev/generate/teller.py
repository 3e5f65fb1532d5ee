"""The Python face: load a model, give it an ending, get a story."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mlx_rev import backend
from mlx_rev.config import SampleConfig
from mlx_rev.errors import ConfigError
from mlx_rev.formats.detect import shipped_model
from mlx_rev.generate.decode import Ending, StoryEvent, kept_prompt, write_stories
from mlx_rev.model.load import Loaded, load_model
from mlx_rev.text.order import Order


@dataclass(frozen=True)
class Story:
    """A finished story."""

    text: str
    """In reading order; the prompt stands in it byte for byte as it was given."""
    prompt: str
    tokens: tuple[int, ...] = field(repr=False)
    """What was generated, in model order, the boundary included if it was reached."""
    surprises: tuple[float, ...] = field(repr=False)
    """Of each token, in bits."""
    finished: Ending
    """boundary: the story is whole; length: there was no more room."""

    def __str__(self) -> str:
        return self.text


class Teller:
    """Writes stories with a loaded model."""

    def __init__(self, loaded: Loaded) -> None:
        self.model, self.codec = loaded.model, loaded.codec
        self.says_reversal = loaded.says_reversal
        self._reader = backend.choose().reader(loaded.model)

    @property
    def grows_leftwards(self) -> bool:
        """Whether prompts are endings; a forward model takes openings."""
        return self.codec.reversal.grows_leftwards

    def stream(
        self, endings: Sequence[str], settings: SampleConfig | None = None
    ) -> Iterator[StoryEvent]:
        """Events of one story for each ending, while they grow together."""
        prompts = [self.codec.prompt(ending) for ending in endings]
        return write_stories(
            self.model, self.codec, prompts, settings or SampleConfig(), self._reader
        )

    def warm_up(self) -> None:
        """Make single stories a third faster from some seconds on, by work in the background that
        the process waits for before it ends."""
        self._reader.warm_up()

    def tell(self, ending: str, **settings: float) -> Story:
        """One story. Settings are SampleConfig's fields, such as temperature=0.5, seed=7."""
        return self.tell_all([ending], **settings)[0]

    def tell_all(self, endings: Sequence[str], **settings: float) -> list[Story]:
        """A story for each ending, written together; story i has the seed `seed` + i."""
        if not endings:
            return []
        known = SampleConfig.__dataclass_fields__
        if unknown := sorted(set(settings) - set(known)):
            raise ConfigError(f"no setting {unknown[0]!r}; there are {', '.join(known)}")
        config = SampleConfig(**settings)  # type: ignore[arg-type]
        events: list[list[StoryEvent]] = [[] for _ in endings]
        for event in self.stream(endings, config):
            events[event.index].append(event)
        return [
            Story(
                text=own[-1].story,
                prompt=ending,
                tokens=tuple(event.token for event in own),
                surprises=tuple(event.surprise for event in own),
                finished=own[-1].finished or "length",
            )
            for ending, own in zip(endings, events, strict=True)
        ]

    def tokens_left_out(self, ending: str) -> int:
        """How many tokens of a long ending the model does not get to see."""
        spelling = self.codec.prompt(ending).spellings[0]
        return len(spelling) - len(kept_prompt(spelling, self.model.config.context))


def load(
    reference: str | Path | None = None,
    *,
    tokenizer: str | Path | None = None,
    reversal: str | None = None,
) -> Teller:
    """Load a training run, checkpoint, model folder, .bin, .gguf or hf:owner/repo[/file].

    Without a reference it is the model that ships with mlx-rev.
    `tokenizer` and `reversal` (word, token, none) stand in for what the file does not say.
    Raises FormatError.
    """
    if reversal is not None and reversal not in set(Order):
        raise ConfigError(f"reversal is {reversal!r}, expected {', '.join(Order)}")
    loaded = load_model(
        shipped_model() if reference is None else reference,
        tokenizer=Path(tokenizer) if tokenizer is not None else None,
        reversal=Order(reversal) if reversal is not None else None,
        ops=backend.choose().ops,
    )
    return Teller(loaded)
