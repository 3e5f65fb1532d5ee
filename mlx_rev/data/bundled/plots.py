"""The table of all plots."""

from __future__ import annotations

from mlx_rev.data.bundled import plots_friends, plots_home, plots_outside, plots_wonder
from mlx_rev.data.bundled.grammar import Plot

PLOTS: tuple[Plot, ...] = (
    plots_outside.PLOTS + plots_home.PLOTS + plots_friends.PLOTS + plots_wonder.PLOTS
)
