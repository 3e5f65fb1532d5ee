"""What the REPL does with a line: no terminal here."""

from collections.abc import Iterator
from dataclasses import replace

from mlx_rev.config import SampleConfig
from mlx_rev.generate.decode import StoryEvent
from mlx_rev.generate.teller import Teller


class Session:
    """A conversation with one model: each ending gets a story, with one seed after another."""

    def __init__(self, teller: Teller, settings: SampleConfig) -> None:
        self.teller = teller
        self._settings = settings

    @property
    def prompt(self) -> str:
        """What to ask for: an ending, or from a forward model's user an opening."""
        return "ending> " if self.teller.grows_leftwards else "opening> "

    def story(self, ending: str) -> Iterator[StoryEvent]:
        """Events of a new story for `ending`."""
        settings = self._settings
        self._settings = replace(settings, seed=settings.seed + 1)
        return self.teller.stream([ending], settings)
