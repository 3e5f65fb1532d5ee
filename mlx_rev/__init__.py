"""mlx-rev: Llamas that write stories backwards, from their ending.

import mlx_rev
story = mlx_rev.load("runs/bundled-quick").tell("They all lived happily ever after.")
"""

from mlx_rev.interrupts import end_at_once, is_command

end_at_once()  # in this program's own processes only, before the imports that take a while

from contextlib import nullcontext  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import TYPE_CHECKING  # noqa: E402

from mlx_rev.cpu import blas  # noqa: E402
from mlx_rev.errors import warning_in_a_line  # noqa: E402

if TYPE_CHECKING:
    from mlx_rev.generate.teller import Teller

with warning_in_a_line() if is_command() else nullcontext():
    blas.preload()

__version__ = "0.1.0"


def load(
    reference: str | Path | None = None,
    *,
    tokenizer: str | Path | None = None,
    reversal: str | None = None,
) -> "Teller":
    """Load a run, checkpoint, model folder, .bin, .gguf or hf:owner/repo[/file] to tell stories.

    Without a reference it is the built-in model.
    `tokenizer` and `reversal` (word2, word, token, none) supply what the file does not say.
    Raises RevError.
    """
    from mlx_rev.generate import teller

    return teller.load(reference, tokenizer=tokenizer, reversal=reversal)
