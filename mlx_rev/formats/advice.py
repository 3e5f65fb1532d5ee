"""What to say of a model that was converted: what to know, and how to run it."""

import shlex
from collections.abc import Iterator
from pathlib import Path

from mlx_rev.formats.model_file import ModelFile
from mlx_rev.formats.tokenizers.limits import differences
from mlx_rev.formats.tokenizers.tokenizer_bin import TOKENIZER_BIN
from mlx_rev.text.order import ASSUMED, BACKWARD_NAMES

_PROGRAMS = {"mlx": "mlx-lm", "gguf": "llama.cpp"}


def notes(model: ModelFile, to: str) -> Iterator[str]:
    """What the person should know, a sentence each; `to` is a Format, or run."""
    if model.order and not model.order.promptable_elsewhere and to != "run":
        yield (
            f"this model reads tokens in reverse, so {_PROGRAMS.get(to, 'run.c')} cannot prompt "
            "it (it encodes forwards); mlx-rev tell can"
        )
    if model.order is None:
        yield (
            "nothing says how this model's text is reversed; it is taken not to be. "
            f"--reversal {BACKWARD_NAMES} says otherwise"
        )
    if model.tokenizer is None:
        yield "no tokenizer was found, so none was written; --tokenizer names one"
    elif to != "run":
        yield from differences(model.tokenizer)


def how_to_run(target: Path, to: str, model: ModelFile) -> str:
    """The command line that makes the result of a conversion tell a story."""
    path = shlex.quote(str(target))
    order = model.order or ASSUMED
    if not order.promptable_elsewhere:
        return f'mlx-rev tell "{order.example}" --model {path}'
    if to == "mlx":
        command, option = f"mlx_lm.generate --verbose False --model {path}", "--prompt"
    elif to == "gguf":
        command, option = f"llama-cli -no-cnv -m {path}", "-p"
    else:
        program = "./runq" if to == "llama2c-v2" else "./run"
        tokenizer = shlex.quote(str(target.with_name(TOKENIZER_BIN)))
        command, option = f"{program} {path} -z {tokenizer}", "-i"
    if turn := order.shell_filter:
        return f"{command} {option} \"$(echo '{order.example}' | {turn})\" | {turn}"
    return f'{command} {option} "{order.example}"'
