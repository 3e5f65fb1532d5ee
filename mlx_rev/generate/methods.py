"""The ways to come by a story for an ending: what an evaluation compares.

Each gives one story for each ending. All take a model's own tokens only, so that what one of them
costs is what it tells and what is read to choose.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from mlx_rev.config import SampleConfig
from mlx_rev.errors import ConfigError
from mlx_rev.generate.judge import Judge, ignore, judge_of
from mlx_rev.generate.measures import EndedStory
from mlx_rev.generate.narrowing import Narrowing
from mlx_rev.generate.rerank import ranked
from mlx_rev.generate.story import Story
from mlx_rev.generate.teller import Teller
from mlx_rev.text.sentences import last_sentences

Progress = Callable[[float], None]
"""Told which share is done, 0 to 1."""

_AT_ONCE = 64
"""Stories; a token of each costs half of what it does with sixteen."""


def tell(
    teller: Teller, endings: Sequence[str], settings: SampleConfig, progress: Progress
) -> tuple[EndedStory, ...]:
    """One story for each ending; story i has the seed `settings.seed` + i."""
    several = tell_several(teller, endings, 1, settings, progress)
    return tuple(ended(story) for [story] in several)


def told_at_once(prompts: int, count: int) -> int:
    """How many stories are written together where each prompt has `count`."""
    return min(prompts, _prompts_at_once(count)) * count


def _prompts_at_once(count: int) -> int:
    return max(1, _AT_ONCE // count)


def tell_several(
    teller: Teller,
    prompts: Sequence[str],
    count: int,
    settings: SampleConfig,
    progress: Progress,
) -> list[list[Story]]:
    """`count` stories for each prompt, those of prompt i with the seeds from `settings.seed` +
    i · count on."""
    told: list[list[Story]] = []
    size = _prompts_at_once(count)
    for start in range(0, len(prompts), size):
        part = [prompt for prompt in prompts[start : start + size] for _ in range(count)]
        chosen = replace(settings, seed=settings.seed + start * count)
        stories = teller.begin(part, chosen)
        for _ in teller.write(stories, chosen):
            done = sum(story.finished is not None for story in stories)
            progress((start * count + done) / (len(prompts) * count))
        told += [stories[place : place + count] for place in range(0, len(stories), count)]
    return told


def tell_best(
    teller: Teller,
    endings: Sequence[str],
    settings: SampleConfig,
    count: int,
    chooser: Judge | None,
    progress: Progress,
) -> tuple[EndedStory, ...]:
    """The best of `count` stories for each ending, as `rerank` chooses it."""
    apart = replace(settings, seed=settings.seed + len(endings))
    several = tell_several(teller, endings, count, apart, progress)
    return tuple(best_ranked(teller, stories, chooser) for stories in several)


def best_ranked(teller: Teller, stories: Sequence[Story], chooser: Judge | None) -> EndedStory:
    """Of several whole stories for one ending the one that `Teller.tell` would have chosen."""
    left = Narrowing(teller.codec, chooser)(stories)
    return ended(ranked(teller.model, teller.codec, left, chooser)[0].story)


def best_opening(forward: Teller, stories: Sequence[Story], ending: str) -> EndedStory:
    """Of several stories by a forward model the one whose own last sentences the ending replaces
    best: after what is left, the ending surprises that model least.

    It is what a forward model can do for an ending that it has never seen: write, and choose.
    Raises ConfigError for a backward model, and for an ending too long for its context.
    """
    if forward.grows_leftwards:
        raise ConfigError("openings for an ending take a model that reads forwards")
    bodies = [
        story.text[: len(story.text) - len(last_sentences(story.text))].strip() for story in stories
    ]
    whole = [place for place, body in enumerate(bodies) if body] or [0]
    judge = judge_of(forward, turned=False)
    given = [bodies[place] for place in whole]
    nats = judge.joined_nats(given, [ending] * len(given), ignore)[1]
    place = whole[int(nats.argmin())]
    text = f"{bodies[place]} {ending}" if bodies[place] else ending
    return EndedStory(text, ending, stories[place].finished == "boundary")


def ended(story: Story) -> EndedStory:
    """A story that was told from its ending."""
    return EndedStory(story.text, story.prompt, story.finished == "boundary")
