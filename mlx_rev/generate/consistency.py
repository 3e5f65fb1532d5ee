"""How many stories that a model tells hold together, by the judge of the bundled corpus."""

from collections.abc import Callable
from dataclasses import dataclass

from mlx_rev.config import SampleConfig
from mlx_rev.data import bundled
from mlx_rev.generate.teller import Teller


@dataclass(frozen=True)
class Consistency:
    """How many stories, told from endings of held-out bundled stories, hold together."""

    stories: int
    consistent: int
    faults: tuple[tuple[str, str], ...]
    """(story, first fault found) of the others."""

    @property
    def share(self) -> float:
        """Consistent stories among all."""
        return self.consistent / self.stories


def consistency(
    teller: Teller,
    count: int,
    settings: SampleConfig,
    progress: Callable[[float], None] = lambda share: None,
) -> Consistency:
    """Tell `count` stories from endings whose combination of plot, name and object never occurs
    in training, no combination twice while there are others, and let the corpus's checker judge
    them. `progress` is told the share of them that is complete."""
    endings: dict[tuple[str, str, str], str] = {}
    for story in bundled.stories("valid"):
        endings.setdefault((story.plot, story.name, story.object), story.ending)
    chosen = list(endings.values())[:count]
    stories, faults = teller.begin(chosen, settings), []
    for _ in teller.write(stories, settings):
        progress(sum(story.finished is not None for story in stories) / len(stories))
    for told in stories:
        if found := bundled.check(told.text):
            faults.append((told.text, found[0]))
    return Consistency(len(chosen), len(chosen) - len(faults), tuple(faults))
