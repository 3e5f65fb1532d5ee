#!/usr/bin/env python3
"""Make a larger model of a small one that says almost the same, to be trained further."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from mlx_rev.config import Dtype  # noqa: E402
from mlx_rev.errors import ConfigError, RevError, in_a_line  # noqa: E402
from mlx_rev.formats.convert import convert  # noqa: E402
from mlx_rev.formats.detect import open_model  # noqa: E402
from mlx_rev.formats.larger import grown  # noqa: E402
from mlx_rev.text.order import ORDER_NAMES, order_named  # noqa: E402

SIZES = ("dim", "n_layers", "n_heads", "hidden_dim", "context")


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the options and write the larger model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="a model of any format")
    parser.add_argument("target", type=Path, help="the folder to write")
    for name in SIZES:
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, help="by default as it is")
    parser.add_argument("--reversal", choices=ORDER_NAMES, help="the order that it is to learn")
    parser.add_argument("--seed", type=int, default=0, help="of what is random in it")
    options = vars(parser.parse_args(arguments))
    try:
        _grow(options)
    except (RevError, OSError) as error:
        print(f"{parser.prog}: {in_a_line(error)}", file=sys.stderr)
        return 2
    return 0


def _grow(options: dict[str, Any]) -> None:
    if options["seed"] < 0:
        raise ConfigError(f"--seed is {options['seed']}, expected 0 or more")
    small = open_model(options["model"])
    sizes = {name: options[name] for name in SIZES if options[name] is not None}
    heads = sizes.get("n_heads", small.config.n_heads)
    groups = max(1, small.config.n_heads // small.config.n_kv_heads)
    config = replace(
        small.config, **sizes, n_kv_heads=heads // groups, head_size=small.config.head_dim
    )
    large = grown(small, config, options["seed"])
    if options["reversal"] is not None:
        large = replace(large, order=order_named(options["reversal"]))
    convert(large, options["target"], "mlx", Dtype.FLOAT32)


if __name__ == "__main__":
    sys.exit(main())
