"""The README.md of a model folder: what the model is and how it is used."""

import shlex

from mlx_rev.formats.model_file import ModelFile
from mlx_rev.text.order import ASSUMED, Order

_AND_FORWARDS = (
    " It reads and writes forwards, too: `mlx_rev.load(…).opposite` tells a story from its opening."
)


def model_card(model: ModelFile, name: str, run: str, *, quantised: bool = False) -> str:
    """The card, in Markdown with the hub's front matter.

    `run` is the command that makes mlx-lm tell a story; `quantised`: in mlx's 8 bits.
    """
    config, order = model.config, model.order or ASSUMED
    loads = (
        "mlx-lm loads the folder as it is; transformers cannot read mlx's 8-bit weights."
        if quantised
        else "With mlx-lm or transformers the folder loads as it is."
    )
    return f"""---
library_name: mlx
pipeline_tag: text-generation
tags: [mlx, mlx-rev, tinyllama{", reversed" if order.grows_leftwards else ""}]
---

# {name}

A Llama of {model.parameters:,} parameters: {config.n_layers} layers of width {config.dim},
{config.n_heads} heads ({config.n_kv_heads} for keys and values), a vocabulary of
{config.vocab_size}, a context of {config.context} tokens.

{order.description}{_AND_FORWARDS if order.also_forward else ""}

With [mlx-rev](https://github.com/mlx-rev/mlx-rev){_reversing(order)}:

```sh
mlx-rev tell "{order.example}" --model {shlex.quote(name)}
```

{loads} {order.by_hand}{_marks(model)}

{_foreign(run) if order.promptable_elsewhere else ""}"""


def _reversing(order: Order) -> str:
    return ", which does the reversing" if order.grows_leftwards else ""


def _marks(model: ModelFile) -> str:
    """What stands before and after a text."""
    if model.boundary == model.end_of_text:
        return f"The boundary token (id {model.boundary})\nstands before a text and ends it."
    return f"The token {model.boundary} stands before a text, and {model.end_of_text} ends it."


def _foreign(run: str) -> str:
    """How to run it with another program."""
    return f"```sh\n{run}\n```\n"
