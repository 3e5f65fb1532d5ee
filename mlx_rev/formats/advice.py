"""What to say about a converted model: what to know, and how to run it."""

import shlex
from collections.abc import Iterator
from pathlib import Path

from mlx_rev.formats.format import Format
from mlx_rev.formats.model_file import ModelFile
from mlx_rev.formats.tokenizers.limits import differences
from mlx_rev.text.order import ASSUMED, BACKWARD_NAMES


def notes(model: ModelFile, to: Format) -> Iterator[str]:
    """What the person should know, a sentence each."""
    if model.order and not model.order.promptable_elsewhere and to.program:
        yield (
            f"this model reads tokens in reverse, so {to.program} cannot prompt "
            "it (it encodes forwards); mlx-rev tell can"
        )
    if model.order is None:
        yield (
            "the source does not say how this model's text is reversed; assuming that it is not "
            f"(if it is, give --reversal {BACKWARD_NAMES})"
        )
    if model.tokenizer is None:
        yield "no tokenizer was found, so none was written; give one with --tokenizer"
    elif to.program:
        yield from differences(model.tokenizer)
    if to.program == "run.c" and model.end_of_text != model.boundary:
        yield f"texts end with the id {model.end_of_text}, where run.c does not stop; give it -n"


def told_by(
    command: str,
    option: str,
    target: Path,
    model: ModelFile,
    *,
    shows_prompt: bool = True,
    after: str = "",
) -> str:
    """The shell command that makes `command` tell a story, the prompt given with `option`.

    If the program does not show the prompt, it is put beside the text; `after` is a filter that
    removes what the program adds to the text.
    """
    order = model.order or ASSUMED
    if not order.promptable_elsewhere:
        return f'mlx-rev tell "{order.example}" --model {shlex.quote(str(target))}'
    reverse, given = order.shell_filter, f"'{order.example}'"
    prompt = f'"$(echo {given} | {reverse})"' if reverse else given
    told = f"{command} {option} {prompt}"
    if after:  # echo and $() make one newline of however many the program ends with
        told = f'echo "$({told})" | {after}'
    told = f"{told} | {reverse}" if reverse else told
    if shows_prompt:
        return told
    return f'echo "$({told})" {given}' if order.grows_leftwards else f'echo {given} "$({told})"'
