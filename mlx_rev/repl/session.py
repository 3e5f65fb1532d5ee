"""What the REPL does with a line: no terminal here, so a test can hold the conversation."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from mlx_rev.config import SampleConfig, validate
from mlx_rev.errors import ConfigError, in_a_line
from mlx_rev.formats.convert import Progress
from mlx_rev.generate.story import Story
from mlx_rev.generate.teller import Teller
from mlx_rev.repl import commands
from mlx_rev.repl.names import Named, short_name, writer
from mlx_rev.repl.replies import Edits, Grows, Offers, Reply, Says, Tells
from mlx_rev.repl.transcript import Transcript
from mlx_rev.text.order import BACKWARD_NAMES


class Session:
    """A conversation with a model: a line in, replies out.

    `source` is the model's reference, as a person would give it, `reversal` and `tokenizer` what
    was given with it; `progress` is told how far a conversion is; `transcript` keeps the stories.
    """

    def __init__(
        self,
        teller: Teller,
        source: str,
        settings: SampleConfig | None = None,
        progress: Progress = lambda weight, share: None,
        transcript: Transcript | None = None,
        *,
        reversal: str = "",
        tokenizer: str = "",
    ) -> None:
        self.named = Named(teller, source, reversal, tokenizer)
        self.settings = settings or teller.settings
        validate(self.settings)
        self.progress, self.transcript = progress, transcript
        self.forward: Teller | None = None
        """Who goes on from a beginning, if /begin named another model than this one."""
        self.told: list[Story] = []
        """Every story, candidates included, in the order in which they were told."""
        self.reopened: dict[Path, list[Story]] = {}
        """The stories of sessions before this one that were taken up."""
        self.draft: Edits | None = None
        """What the next line is the changed text of, if anything."""
        self.stopped = False
        self._stood: list[Story] = []
        """The stories that were in hand, the present one last."""
        self._offer: tuple[Callable[[], Iterator[Reply]], ...] = ()
        """What the numbers do that a line may consist of."""

    @property
    def teller(self) -> Teller:
        """Who writes the stories."""
        return self.named.teller

    @property
    def source(self) -> str:
        """The model's reference."""
        return self.named.source

    @property
    def prompt(self) -> str:
        """What to ask for: an ending or, with a forward model, an opening."""
        if self.draft is not None:
            return "edit> "
        if self._offer:
            return f"1-{len(self._offer)}> "
        return "ending> " if self.teller.grows_leftwards else "opening> "

    @property
    def side(self) -> str:
        """What a prompt says of a story: how it ends or begins."""
        return "end" if self.teller.grows_leftwards else "begin"

    @property
    def example(self) -> str:
        """A prompt that an empty line stands for while no story has been told."""
        return self.teller.codec.order.example

    def stop(self) -> None:
        """End the story that is growing; what there is of it is kept."""
        self.stopped = True

    def respond(self, line: str) -> Iterator[Reply]:
        """The replies to a line. Raises RevError for a line that makes no sense."""
        self.stopped = False
        if self.draft is not None:
            yield from self._changed(line)
        elif self._offer and line.rstrip().isdecimal():
            yield from self._pick(line.rstrip())
        elif given := commands.read(line):
            yield from given.command.run(self, given)
        elif line.strip():
            yield from self.tell(line)
        elif self.told:
            yield Says(f"Type how a story {self.side}s, or /help.")
        else:
            yield from self.tell(self.example)

    def tell(self, ending: str) -> Iterator[Reply]:
        """A new story for an ending, which is then the one in hand."""
        for reply in self.stories([ending]):
            if isinstance(reply, Offers):
                yield from self.keep(reply.stories)
                self.stand(reply.stories[0])
                yield Tells(reply.stories[0])
            else:
                yield reply

    def stories(self, endings: Sequence[str]) -> Iterator[Reply]:
        """A story for each ending, written together, each with a seed of its own."""
        stories = self.begun(endings)
        self._offer = ()
        for story in {story.prompt: story for story in stories}.values():
            if story.left_out:
                part = "first" if story.leftwards else "last"
                yield Says(
                    f"That is longer than the model can read: it sees only the {part} "
                    f"{len(story.spelling) - 1} tokens, not the other {story.left_out}."
                )
        yield from self.grow(self.teller, stories, Grows(stories))
        yield Offers(stories, tuple(str(number + 1) for number in range(len(stories))))

    def begun(self, endings: Sequence[str], by: Named | None = None) -> tuple[Story, ...]:
        """A story for each ending, by this model or another, no token written yet."""
        by = by or self.named
        stories = by.teller.begin(endings, self.settings)
        for story in stories:
            by.sign(story)
            story.settings = replace(self.settings, seed=story.seed)
        return tuple(stories)

    def grow(self, teller: Teller, stories: Sequence[Story], grown: Grows) -> Iterator[Grows]:
        """Write stories until they are complete or stopped; `grown`, which may hold others too, is
        yielded whenever one has grown."""
        settings = self.settings
        self.settings = replace(settings, seed=settings.seed + len(stories))
        yield grown
        for _ in teller.write(stories, settings):
            yield grown
            if self.stopped:
                for story in stories:
                    if story.finished is None:
                        story.stop("stopped")
                yield grown
                return

    def keep(self, stories: Sequence[Story]) -> Iterator[Says]:
        """Put stories into the history and the transcript; says so once where that fails."""
        self.told += stories
        if self.transcript is None:
            return
        try:
            for story in stories:
                self.transcript.add(story)
        except OSError as error:
            self.transcript = None
            yield Says(f"{in_a_line(error)}; what is told from here on is kept in memory only")

    def offer(self, actions: Sequence[Callable[[], Iterator[Reply]]]) -> None:
        """Let a line that is a number do something, until one has, a new story is begun or another
        model is loaded."""
        self._offer = tuple(actions)

    def offer_stories(self, stories: Sequence[Story]) -> None:
        """Let a number choose a story."""
        self.offer([partial(self.take_up, story) for story in stories])

    def take_up(self, story: Story) -> Iterator[Reply]:
        """Show a story, which is then the one in hand."""
        self._offer = ()
        self.stand(story)
        yield Tells(story)

    def stand(self, story: Story) -> None:
        """Make a story the one in hand."""
        self._stood.append(story)

    def step_back(self) -> Story:
        """Put the story before into hand again. Raises ConfigError where there is none."""
        if len(self._stood) < 2:
            raise ConfigError("nothing to undo: no other story was in hand before")
        self._stood.pop()
        self._offer = ()
        return self._stood[-1]

    @property
    def standing(self) -> Story | None:
        """The story in hand, if there is one."""
        return self._stood[-1] if self._stood else None

    def in_hand(self) -> Story:
        """The story that commands are about. Raises ConfigError where there is none."""
        if self._stood:
            return self._stood[-1]
        if self._offer:
            raise ConfigError(f"no story chosen; type a number from 1 to {len(self._offer)}")
        raise ConfigError(f"no story yet; type how one {self.side}s")

    def to_write_with(self) -> Story:
        """The story in hand, if this model can go on with it. Raises ConfigError where it cannot,
        as the story grows in the other direction."""
        story = self.in_hand()
        if not self._goes_on_with(story):
            grows = "leftwards" if story.leftwards else "rightwards"
            raise ConfigError(
                f"this story grows {grows}, unlike those of the model; /model changes it"
            )
        return story

    def own_story(self) -> Story:
        """The story in hand, if it is by this model. Raises ConfigError for another's."""
        story = self.to_write_with()
        if not self.named.wrote(story):
            raise ConfigError(
                f"this story is by {writer(story)}, not by {self.named}; tell one with it first"
            )
        return story

    def _goes_on_with(self, story: Story) -> bool:
        return story.leftwards == self.teller.grows_leftwards

    def greeting(self) -> str:
        """What to do."""
        name = short_name(self.source)
        what = "what led to it" if self.teller.grows_leftwards else "what comes after it"
        lines = [f"Type how a story {self.side}s, press Enter, and {name} writes {what}."]
        if self.told:
            count = f"{len(self.told)} stories are" if len(self.told) > 1 else "1 story is"
            lines.append(f"{count} in the /history{self._ways_on()}.")
        else:
            lines.append(f"Enter alone takes this example: {self.example}")
        if not self.teller.says_reversal:
            lines.append(
                "The model does not say how its text is reversed; assuming that it is not "
                f"(if it is, give --reversal {BACKWARD_NAMES})."
            )
        return "\n".join(lines)

    def _ways_on(self) -> str:
        """What goes on with the story in hand, for behind a semicolon."""
        story = self.standing
        if story is None or not self._goes_on_with(story):
            return ""
        more = "" if story.finished == "boundary" else "/more, "
        return f"; {more}/edit and /cut go on with the one in hand"

    def _pick(self, typed: str) -> Iterator[Reply]:
        # A number of thousands of digits would take long to read.
        number = int(typed) if len(typed) < 9 else 0
        if not 1 <= number <= len(self._offer):
            raise ConfigError(
                f"{typed}: expected 1 to {len(self._offer)}; put a space in front of "
                f"a story's {self.side} that is a number"
            )
        yield from self._offer[number - 1]()

    def _changed(self, text: str) -> Iterator[Reply]:
        draft, self.draft = self.draft, None
        # prompt_toolkit drops a line break from the end of what comes back from the editor.
        unsaved = (
            draft is not None
            and draft.in_editor
            and text in (draft.text, draft.text.removesuffix("\n"))
        )
        if unsaved or not text.strip():
            yield Says("Nothing was changed; the story is as it was.")
        else:
            yield from self.tell(text)
