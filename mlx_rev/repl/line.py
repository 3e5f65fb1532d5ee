"""The input line: history, search, completion, and a story put into it to be changed."""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.application import get_app
from prompt_toolkit.completion import (
    CompleteEvent,
    Completer,
    Completion,
    PathCompleter,
)
from prompt_toolkit.document import Document
from prompt_toolkit.filters import Condition, is_searching
from prompt_toolkit.history import FileHistory, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

from mlx_rev.config import SampleConfig
from mlx_rev.repl.command import Command
from mlx_rev.repl.commands import COMMANDS, NAMES, TOPICS, named
from mlx_rev.repl.replies import Edits


class CommandCompleter(Completer):
    """Completes commands, what /help explains, settings, options with their values, and paths."""

    def get_completions(
        self, document: Document, complete_event: CompleteEvent
    ) -> Iterable[Completion]:
        """What may follow the text before the cursor."""
        text = document.text_before_cursor
        if not text.startswith("/"):
            return
        name, space, rest = re.split(r"(\s|$)", text[1:], maxsplit=1)
        command = named(name)
        if not space:
            begun = [known for known in NAMES if known.startswith(name.lower())]
            # The other names only where there is no command's own.
            for known in [each for each in begun if each in COMMANDS] or begun:
                yield Completion(known, -len(name), display_meta=NAMES[known].summary)
        elif command is not None:
            before, last, typed = _words(rest)
            possible = _possible(command, before, last)
            if possible is None:
                yield from _paths(last, typed, complete_event)
                return
            for value in possible:
                if value.startswith(last):
                    yield Completion(value, -typed)


def _possible(command: Command, before: Sequence[str], last: str) -> Sequence[str] | None:
    """What the last word of a command may be; None for any path."""
    if command.name in ("set", "help"):
        names = (
            [*COMMANDS, *TOPICS]
            if command.name == "help"
            else [f.name for f in fields(SampleConfig)]
        )
        return [] if before else names
    if command.takes_text and before not in ([], *([option.name] for option in command.options)):
        return []
    for option in command.options:
        if option.value and before and before[-1] == option.name:
            return option.possible
    named = bool(before) and not before[0].startswith("-")
    if not command.takes_path or named or last.startswith("-"):
        return [option.name for option in command.options if option.name not in before]
    return None


def _words(rest: str) -> tuple[list[str], str, int]:
    """The words before the one that is being typed, that one without its quotation marks, which may
    still be open, and how many characters of the line it takes."""
    words: list[str] = []
    text: str | None = None
    start, quote, escaping = 0, "", False
    for place, character in enumerate(rest):
        if escaping:
            kept = "\\" if quote and character not in '"\\' else ""
            text, escaping = (text or "") + kept + character, False
        elif character == quote:
            quote = ""
        elif character == "\\" and quote != "'":
            text, escaping = text or "", True
        elif quote:
            text = (text or "") + character
        elif character.isspace():
            words += [] if text is None else [text]
            text, start = None, place + 1
        elif character in "'\"":
            text, quote = text or "", character
        else:
            text = (text or "") + character
    return words, text or "", len(rest) - start


def _paths(last: str, typed: int, event: CompleteEvent) -> Iterator[Completion]:
    """The paths that a word may become, in quotation marks where they have spaces, folders with a
    slash at their end."""
    for found in PathCompleter(expanduser=True).get_completions(Document(last), event):
        path = last + found.text
        folder = found.display_text.endswith("/")
        if folder:
            path += "/"
        if re.search(r"""[\s'"\\]""", path):
            path = '"' + re.sub(r'(["\\])', r"\\\1", path) + ("" if folder else '"')
        yield Completion(path, -typed, display=found.display)


@dataclass(frozen=True)
class Asked:
    """What the next line is asked for with."""

    prompt: str
    draft: Edits | None = None
    """What is to be changed, if anything: then Ctrl-C gives an empty line."""
    example: str = ""
    """What Enter alone puts into the line."""


def typed_lines(history: Path | None, ask: Callable[[], Asked]) -> Iterator[str]:
    """Lines typed at the terminal until Ctrl-D; Ctrl-C clears the line, Alt-Enter breaks it.

    `history` is kept between sessions or, if that is not possible, for this session only.
    """
    asked = Asked("")
    session: PromptSession[str] = PromptSession(
        history=_history(history),
        completer=CommandCompleter(),
        complete_while_typing=False,
        key_bindings=_keys(lambda: asked.example),
        enable_history_search=True,
        enable_suspend=True,
        tempfile_suffix=".txt",
    )
    while True:
        asked = ask()
        draft = asked.draft
        begin = _open_in_editor if draft is not None and draft.in_editor else None
        try:
            yield session.prompt(asked.prompt, default=draft.text if draft else "", pre_run=begin)
        except KeyboardInterrupt:
            if draft is not None:
                yield ""
        except EOFError:
            return


def _keys(example: Callable[[], str]) -> KeyBindings:
    keys = KeyBindings()

    @Condition
    def has_example() -> bool:
        return bool(example()) and not get_app().current_buffer.text

    @keys.add("enter", filter=has_example & ~is_searching)
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text(example())
        event.current_buffer.validate_and_handle()

    @keys.add("escape", "enter")
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    @Condition
    def completed() -> bool:
        state = get_app().current_buffer.complete_state
        return state is not None and len(state.completions) == 1 and state.complete_index == 0

    # Otherwise it would take back what was completed, the only possibility.
    @keys.add("tab", filter=completed)
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.complete_state = None
        event.current_buffer.start_completion(insert_common_part=True)

    return keys


def _open_in_editor() -> None:
    """Have the line changed in the person's editor, then taken."""
    get_app().current_buffer.open_in_editor(validate_and_handle=True)


class _Kept(FileHistory):
    """A history in a file, which may become impossible to write to during a session."""

    def store_string(self, string: str) -> None:
        """Append a line to the file if possible; the session has it anyway."""
        with suppress(OSError, UnicodeError):
            super().store_string(string)


def _history(path: Path | None) -> FileHistory | InMemoryHistory:
    if path is None:
        return InMemoryHistory()
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # What a person types is nobody else's to read.
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            os.fchmod(descriptor, 0o600)
        finally:
            os.close(descriptor)
        return _Kept(path)
    except OSError:
        return InMemoryHistory()
