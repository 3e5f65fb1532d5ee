"""What to say of a model that was converted: what to know, and how to run it."""

import shlex
from collections.abc import Iterator
from pathlib import Path

from mlx_rev.formats.format import Format
from mlx_rev.formats.model_file import ModelFile
from mlx_rev.formats.tokenizers.limits import differences
from mlx_rev.text.order import Order

ENDING, OPENING = "They were happy.", "Once upon a time"
_WTAC = "mlx-rev wtac"


def notes(model: ModelFile, to: Format) -> Iterator[str]:
    """What the person should know, a sentence each."""
    if model.reversal is Order.TOKEN and to.program:
        yield (
            f"this model reads tokens in reverse, so {to.program} cannot prompt "
            "it (it encodes forwards); mlx-rev tell can"
        )
    if model.reversal is None:
        yield (
            "nothing says how this model's text is reversed; assuming that it is not. "
            "--reversal word or token says otherwise"
        )
    if model.tokenizer is None:
        yield "no tokenizer was found, so none was written; --tokenizer names one"
    elif to.program:
        yield from differences(model.tokenizer)


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

    A program that does not show the prompt gets it put beside the text; `after` is a filter for
    what the program adds to the text.
    """
    if model.reversal is Order.TOKEN:
        return f'mlx-rev tell "{ENDING}" --model {shlex.quote(str(target))}'
    word = model.reversal is Order.WORD
    prompt = f"\"$(echo '{ENDING}' | {_WTAC})\"" if word else f"'{OPENING}'"
    told = f"{command} {option} {prompt}"
    if after:  # echo and $() make one newline of however many the program ends with
        told = f'echo "$({told})" | {after}'
    told = f"{told} | {_WTAC}" if word else told
    if shows_prompt:
        return told
    return f"echo \"$({told})\" '{ENDING}'" if word else f"echo '{OPENING}' \"$({told})\""
