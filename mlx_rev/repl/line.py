"""The input line: history, search, completion."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import fields
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import (
    CompleteEvent,
    Completer,
    Completion,
    PathCompleter,
)
from prompt_toolkit.document import Document
from prompt_toolkit.history import FileHistory, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

from mlx_rev.config import SampleConfig
from mlx_rev.repl.commands import COMMANDS, Spec


class CommandCompleter(Completer):
    """Completes commands, settings after /set, options with their values, and paths."""

    def get_completions(
        self, document: Document, complete_event: CompleteEvent
    ) -> Iterable[Completion]:
        """What may follow the text before the cursor."""
        text = document.text_before_cursor
        if not text.startswith("/"):
            return
        name, space, rest = text[1:].partition(" ")
        if not space:
            for command, spec in COMMANDS.items():
                if command.startswith(name):
                    yield Completion(command, -len(name), display_meta=spec.summary)
        elif name == "set" and " " not in rest:
            for setting in fields(SampleConfig):
                if setting.name.startswith(rest):
                    yield Completion(setting.name, -len(rest))
        elif name in COMMANDS:
            words = rest.split(" ")
            possible = _possible(COMMANDS[name], words)
            if possible is None:
                yield from PathCompleter(expanduser=True).get_completions(
                    Document(words[-1]), complete_event
                )
                return
            for value in possible:
                if value.startswith(words[-1]):
                    yield Completion(value, -len(words[-1]))


def _possible(spec: Spec, words: Sequence[str]) -> Sequence[str] | None:
    """What the last word of a command may be; None for any path."""
    *before, last = words
    if before and (values := spec.options.get(before[-1], ())) != ():
        return values
    named = bool(before) and not before[0].startswith("-")
    if not spec.takes_path or named or last.startswith("-"):
        return [option for option in spec.options if option not in before]
    return None


def typed_lines(history: Path | None, prompt: Callable[[], str]) -> Iterator[str]:
    """Lines typed at the terminal until Ctrl-D; Ctrl-C clears the line, Alt-Enter breaks it.

    `history` is kept between sessions or, if that is not possible, for this session only.
    """
    keys = KeyBindings()

    @keys.add("escape", "enter")
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    session: PromptSession[str] = PromptSession(
        history=_history(history),
        completer=CommandCompleter(),
        complete_while_typing=False,
        key_bindings=keys,
        enable_history_search=True,
    )
    while True:
        try:
            yield session.prompt(prompt())
        except KeyboardInterrupt:
            continue
        except EOFError:
            return


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
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "a+"):
            return _Kept(path)
    except OSError:
        return InMemoryHistory()
