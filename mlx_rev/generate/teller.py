"""The Python API: load a model, give it an ending, get a story."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from mlx_rev import backend
from mlx_rev.backend import Reader
from mlx_rev.config import SampleConfig
from mlx_rev.errors import ConfigError
from mlx_rev.formats.detect import built_in_model
from mlx_rev.generate.decode import begin_stories, write_stories
from mlx_rev.generate.judge import Judge, judge_of, load_judge
from mlx_rev.generate.narrowing import Narrowing
from mlx_rev.generate.rerank import Candidate, check_towards, ranked
from mlx_rev.generate.story import Story
from mlx_rev.model.load import Loaded, load_model
from mlx_rev.text.order import order_named


class Teller:
    """Writes stories with a loaded model."""

    def __init__(self, loaded: Loaded, reader: Reader | None = None) -> None:
        self._loaded = loaded
        self.model, self.codec = loaded.model, loaded.codec
        self.says_reversal = loaded.says_reversal
        self.settings = loaded.settings
        self.reader = reader or backend.choose().reader(loaded.model)
        """Gives the next token's logits, as this machine does it best."""

    @cached_property
    def opposite(self) -> "Teller | None":
        """The same model in the other direction, if it knows both: it takes openings."""
        if self.codec.opposite is None:
            return None
        return Teller(replace(self._loaded, codec=self.codec.opposite), self.reader)

    @property
    def grows_leftwards(self) -> bool:
        """Whether prompts are endings; a forward model takes openings."""
        return self.codec.order.grows_leftwards

    def begin(self, endings: Sequence[str], settings: SampleConfig | None = None) -> list[Story]:
        """A story for each ending, to be written by `write`; story i has the seed `seed` + i."""
        return begin_stories(self.model, self.codec, endings, settings or self.settings)

    def write(
        self, stories: Sequence[Story], settings: SampleConfig | None = None
    ) -> Iterator[Story]:
        """Write stories that were begun: each is yielded whenever it has grown by a token."""
        settings = settings or self.settings
        return write_stories(self.model, self.codec, stories, settings, self.reader)

    def stream(
        self, endings: Sequence[str], settings: SampleConfig | None = None
    ) -> Iterator[Story]:
        """One story for each ending, all growing together: each is yielded, always as the same
        record, whenever it has grown by a token."""
        return self.write(self.begin(endings, settings), settings)

    def tell(
        self,
        ending: str,
        *,
        best_of: int = 1,
        judge: "Judge | Teller | str | Path | None" = None,
        **settings: float,
    ) -> Story:
        """One story, or the best of several. Settings are SampleConfig's fields, such as
        temperature=0.5, seed=7.

        The best is the one that `candidates` would put first, but of those only that are written to
        their beginning: with a judge, what leads badly to the ending is given up before.
        """
        if best_of == 1:
            return self.tell_all([ending], **settings)[0]
        _check_count(best_of, "stories")
        other, config = self.judge(judge), self._configured(settings)
        stories = self.begin([ending] * best_of, config)
        narrowing = Narrowing(self.codec, other)
        for _ in self.write(stories, config):
            narrowing(stories)
        return ranked(self.model, self.codec, narrowing(stories), other)[0].story

    def candidates(
        self,
        ending: str,
        count: int,
        judge: "Judge | Teller | str | Path | None" = None,
        **settings: float,
    ) -> tuple[Candidate, ...]:
        """Stories for one ending, written together, the best first.

        `judge` is a model that reads the other way: loaded, or as `load` takes it. Without one, a
        model of two directions judges itself, and any other chooses by what it says of its own
        stories. Raises RevError.
        """
        _check_count(count, "stories")
        other = self.judge(judge)
        stories = self.tell_all([ending] * count, **settings)
        return ranked(self.model, self.codec, stories, other)

    def judge(self, judge: "Judge | Teller | str | Path | None" = None) -> Judge | None:
        """Who chooses among this model's stories: the one given or, of a model of two directions,
        its other direction. Raises RevError for what cannot be loaded or reads the wrong way."""
        if judge is None:
            return None if self.codec.opposite is None else judge_of(self)
        if isinstance(judge, Teller):
            judge = judge_of(judge)
        elif isinstance(judge, str | Path):
            judge = load_judge(str(judge))
        check_towards(judge, self.codec)
        return judge

    def tell_all(self, endings: Sequence[str], **settings: float) -> list[Story]:
        """A story for each ending, written together; story i has the seed `seed` + i."""
        config = self._configured(settings)
        stories = self.begin(endings, config)
        for _ in self.write(stories, config):
            pass
        return stories

    def _configured(self, settings: Mapping[str, float]) -> SampleConfig:
        """The model's own settings with others in place of some. Raises ConfigError."""
        known = SampleConfig.__dataclass_fields__
        if unknown := sorted(set(settings) - set(known)):
            raise ConfigError(f"no setting {unknown[0]!r}; expected one of {', '.join(known)}")
        return replace(self.settings, **settings)  # type: ignore[arg-type]


def _check_count(count: int, what: str) -> None:
    if count < 1:
        raise ConfigError(f"{count} {what} to choose from; expected 1 or more")


def load(
    reference: str | Path | None = None,
    *,
    tokenizer: str | Path | None = None,
    reversal: str | None = None,
) -> Teller:
    """Load a training run, checkpoint, model folder, .bin, .gguf or hf:owner/repo[/file].

    Without a reference it is the built-in model.
    `tokenizer` and `reversal` (word2, word, token, none) supply what the file does not say.
    Raises RevError.
    """
    loaded = load_model(
        built_in_model() if reference is None else reference,
        tokenizer=Path(tokenizer) if tokenizer is not None else None,
        order=order_named(reversal) if reversal is not None else None,
        ops=backend.choose().ops,
    )
    return Teller(loaded)
