"""What the REPL does with a line: no terminal here, so a test can hold the conversation."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_type_hints

import numpy as np

from mlx_rev.config import Dtype, SampleConfig, validate
from mlx_rev.errors import ConfigError
from mlx_rev.formats import registry
from mlx_rev.formats.convert import Progress, convert
from mlx_rev.formats.detect import BUILT_IN, built_in_model, open_model
from mlx_rev.generate.story import Story
from mlx_rev.generate.surprise import word_surprises
from mlx_rev.generate.teller import Teller, load
from mlx_rev.model.llama import get_weights
from mlx_rev.model.score import score_stories
from mlx_rev.repl import commands
from mlx_rev.repl.commands import Command
from mlx_rev.repl.replies import (
    Converted,
    Grows,
    Leaves,
    Offers,
    Pieces,
    Reply,
    Says,
    Shades,
    Tells,
)
from mlx_rev.repl.saving import save_story
from mlx_rev.text.order import BACKWARD_NAMES

MOST_CANDIDATES = 16


class Session:
    """A conversation with a model: a line in, replies out.

    `source` is the model's reference, as a person would give it; `progress` is told how far a
    conversion is.
    """

    def __init__(
        self,
        teller: Teller,
        source: str,
        settings: SampleConfig | None = None,
        progress: Progress = lambda weight, share: None,
    ) -> None:
        self.teller, self.source = teller, source
        self.settings = settings or SampleConfig()
        validate(self.settings)
        self.told: list[Story] = []
        self._progress = progress
        self._offered: tuple[Story, ...] = ()
        self._stopped = False

    @property
    def prompt(self) -> str:
        """What to ask for: an ending or, with a forward model, an opening."""
        if self._offered:
            return f"1-{len(self._offered)}> "
        return "ending> " if self.teller.grows_leftwards else "opening> "

    def stop(self) -> None:
        """End the story that is growing; what there is of it is kept."""
        self._stopped = True

    def respond(self, line: str) -> Iterator[Reply]:
        """The replies to a line. Raises RevError for a line that makes no sense."""
        self._stopped = False
        offered, self._offered = self._offered, ()
        if offered and line.strip().isdecimal():
            yield from self._pick(offered, int(line))
        elif command := commands.read(line):
            yield from self._obey(command)
        elif not line.strip():
            yield Says(f"Type how the story {self._side}s, or /help.")
        else:
            yield from self.tell(line)

    def tell(self, ending: str) -> Iterator[Reply]:
        """A new story for an ending."""
        for reply in self.stories([ending]):
            if isinstance(reply, Offers):
                self.told += reply.stories
                yield Tells(reply.stories[0])
            else:
                yield reply

    def stories(self, endings: Sequence[str]) -> Iterator[Reply]:
        """A story for each ending, written together, each with a seed of its own."""
        stories = _begun(self.teller, self.source, endings, self.settings)
        for story in {story.prompt: story for story in stories}.values():
            if story.left_out:
                part = "first" if story.leftwards else "last"
                yield Says(
                    f"That is longer than the model can read: it sees only the {part} "
                    f"{len(story.spelling) - 1} tokens, not the other {story.left_out}."
                )
        yield from self._grow(self.teller, stories, Grows(stories))
        yield Offers(stories, tuple(str(number + 1) for number in range(len(stories))))

    def candidates(self, ending: str, count: int) -> Iterator[Reply]:
        """Several stories for an ending at once, each with a seed of its own."""
        if not 1 <= count <= MOST_CANDIDATES:
            raise ConfigError(f"/candidates {count}: expected 1 to {MOST_CANDIDATES}")
        for reply in self.stories([ending] * count):
            if isinstance(reply, Offers):
                self._offered = reply.stories
                yield replace(reply, pick=True)
            else:
                yield reply

    @property
    def _side(self) -> str:
        return "end" if self.teller.grows_leftwards else "begin"

    def _last(self) -> Story:
        if not self.told:
            raise ConfigError(f"no story yet; type how one {self._side}s")
        return self.told[-1]

    def _grow(self, teller: Teller, stories: Sequence[Story], grown: Grows) -> Iterator[Grows]:
        """Write stories until they are complete or stopped; `grown`, which may hold others too, is
        yielded whenever one has grown."""
        settings = self.settings
        self.settings = replace(settings, seed=settings.seed + len(stories))
        yield grown
        for _ in teller.write(stories, settings):
            yield grown
            if self._stopped:
                for story in stories:
                    if story.finished is None:
                        story.stop("stopped")
                yield grown
                return

    def _pick(self, offered: tuple[Story, ...], number: int) -> Iterator[Reply]:
        if not 1 <= number <= len(offered):
            self._offered = offered
            raise ConfigError(f"{number}: expected 1 to {len(offered)}")
        self.told.append(offered[number - 1])
        yield Tells(offered[number - 1])

    def _obey(self, command: Command) -> Iterator[Reply]:
        replies: Iterator[Reply] = getattr(self, f"_do_{command.name}")(command.rest)
        return replies

    def _do_again(self, _: str) -> Iterator[Reply]:
        return self.tell(self._last().prompt)

    def _do_candidates(self, rest: str) -> Iterator[Reply]:
        if not rest.isdecimal():
            raise ConfigError(f"/candidates {rest}: expected a number, such as 4")
        return self.candidates(self._last().prompt, int(rest))

    def _do_surprise(self, _: str) -> Iterator[Reply]:
        story = self._last()
        self._check_same_model(story)
        words: list[tuple[str, float | None]] = [
            *word_surprises(self.teller.codec, story.generated, story.tokens, story.surprises)
        ]
        words.insert(len(words) if story.leftwards else 0, (story.prompt, None))
        yield Shades(tuple(words))

    def _do_raw(self, _: str) -> Iterator[Reply]:
        story = self._last()
        self._check_same_model(story)
        yield Says(self.teller.codec.order.reverse(story.text))

    def _do_save(self, rest: str) -> Iterator[Reply]:
        name, options = commands.arguments(Command("save", rest))
        path = _path(name)
        save_story(self._last(), path, force="--force" in options)
        yield Says(f"saved as {path}")

    def _do_history(self, _: str) -> Iterator[Reply]:
        self._last()
        lines = [
            f"{number:>3}  seed {story.seed}  {_shortened(story.text)}"
            for number, story in enumerate(self.told, 1)
        ]
        yield Says("\n".join(lines))

    def _do_score(self, rest: str) -> Iterator[Reply]:
        codec = self.teller.codec
        ids = np.array(codec.enclosed([rest])[0])
        score = score_stories(self.teller.model, [ids], len(rest.encode()))
        yield Says(
            f"{score.bits_per_byte:.3f} bits per byte, {score.nats_per_token:.3f} nats per token, "
            f"{score.tokens} tokens"
        )

    def _do_tokens(self, rest: str) -> Iterator[Reply]:
        codec = self.teller.codec
        pieces = codec.tokenizer.piece_bytes
        yield Pieces(tuple((pieces[i].decode(errors="replace"), i) for i in codec.encode(rest)))

    def _do_compare(self, rest: str) -> Iterator[Reply]:
        ending = self._last().prompt
        other_source, other = _loaded(Command("compare", rest))
        seed = self.settings.seed
        tellers = ((self.teller, self.source), (other, other_source))
        stories = [_begun(*teller, [ending], self.settings)[0] for teller in tellers]
        grown = Grows(tuple(stories))
        for (teller, _), story in zip(tellers, stories, strict=True):
            self.settings = replace(self.settings, seed=seed)
            yield from self._grow(teller, [story], grown)
            if self._stopped:
                break
        yield Offers(grown.stories, (self.source, other_source))

    def _do_model(self, rest: str) -> Iterator[Reply]:
        self.source, self.teller = _loaded(Command("model", rest))
        yield Says(self.greeting())

    def greeting(self) -> str:
        """Which model it is and what it wants."""
        model = self.teller.model
        parameters = sum(weight.size for weight in get_weights(model).values())
        grows = "leftwards from an ending" if self.teller.grows_leftwards else "from an opening"
        built_in = Path(self.source) == built_in_model()
        name = f"the built-in model {BUILT_IN.name}" if built_in else self.source
        guessed = (
            ""
            if self.teller.says_reversal
            else " It does not say how its text is reversed; assuming that it is not "
            f"(if it is, give --reversal {BACKWARD_NAMES})."
        )
        return (
            f"{name}: {parameters:,} parameters, a vocabulary of "
            f"{model.config.vocab_size:,}, a context of {model.config.context}; "
            f"its stories grow {grows}.{guessed}"
        )

    def _do_export(self, rest: str) -> Iterator[Reply]:
        name, options = commands.arguments(Command("export", rest))
        target, force = _path(name), "--force" in options
        codec = self.teller.codec
        model = open_model(self.source, tokenizer=codec.tokenizer, order=codec.order)
        to = options.get("--to")
        dtype = Dtype(options["--dtype"]) if "--dtype" in options else None
        given = [option.removeprefix("--") for option in options]
        registry.check_options(to, given)
        done = convert(model, target, to, dtype, force=force, progress=self._progress)
        yield Converted(done)

    def _do_settings(self, _: str) -> Iterator[Reply]:
        values = vars(self.settings)
        width = max(map(len, values))
        yield Says("\n".join(f"{name:<{width}}  {value}" for name, value in values.items()))

    def _do_set(self, rest: str) -> Iterator[Reply]:
        name, _, value = rest.partition(" ")
        kinds = get_type_hints(SampleConfig)
        if name not in kinds:
            raise ConfigError(f"/set {name}: {commands.nearest(name, list(kinds))}")
        try:
            settings = replace(self.settings, **{name: kinds[name](value)})
        except ValueError as error:
            kind = "a whole number" if kinds[name] is int else "a number"
            raise ConfigError(f"/set {name}: expected {kind}, found {value!r}") from error
        validate(settings)
        self.settings = settings
        yield Says(f"{name} is {getattr(settings, name)}")

    def _do_help(self, _: str) -> Iterator[Reply]:
        yield Says(commands.help_text())

    def _do_quit(self, _: str) -> Iterator[Reply]:
        yield Leaves()

    def _check_same_model(self, story: Story) -> None:
        if story.model != self.source:
            raise ConfigError(f"the last story is by {story.model}; tell one with this model first")


def _begun(
    teller: Teller, source: str, endings: Sequence[str], settings: SampleConfig
) -> tuple[Story, ...]:
    stories = teller.begin(endings, settings)
    for story in stories:
        story.model = source
    return tuple(stories)


def _loaded(command: Command) -> tuple[str, Teller]:
    """The model that a command names: its reference, and the model loaded."""
    source, options = commands.arguments(command)
    if source.startswith("~"):
        source = str(_path(source))
    tokenizer, order = options.get("--tokenizer"), options.get("--reversal")
    return source, load(source, tokenizer=tokenizer and _path(tokenizer), reversal=order)


def _path(text: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise ConfigError(f"{text}: no such user") from error


def _shortened(text: str, most: int = 60) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 1] + "…"
