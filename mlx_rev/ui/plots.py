"""Loss curves as PNG."""

from pathlib import Path

from mlx_rev.files import atomic_path
from mlx_rev.train.runlog import read_metrics


def loss_plot(metrics: Path, target: Path) -> None:
    """Draw the training loss and the validation bits per byte of a metrics.jsonl as PNG.

    If there is nothing to draw, no file is written. Uses matplotlib's objects, not pyplot, which
    would keep global state and might open windows.
    """
    entries = read_metrics(metrics)
    steps = [(entry["step"], entry["loss"]) for entry in entries if entry["kind"] == "step"]
    evaluations = [
        (entry["step"], entry["bits_per_byte"]) for entry in entries if entry["kind"] == "eval"
    ]
    if not steps and not evaluations:
        return
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), dpi=120)
    FigureCanvasAgg(figure)
    # A layout that is made to fit would take as long as the drawing.
    figure.subplots_adjust(left=0.09, right=0.91, bottom=0.11, top=0.97)
    left = figure.add_subplot()
    right = left.twinx()
    lines = []
    if steps:
        lines += left.plot(*zip(*steps, strict=True), color="tab:blue", label="training loss")
    if evaluations:
        lines += right.plot(
            *zip(*evaluations, strict=True),
            color="tab:red",
            marker="o",
            markersize=3,
            label="validation",
        )
    left.set_xlabel("step")
    left.set_ylabel("nats per token", color="tab:blue")
    right.set_ylabel("bits per byte", color="tab:red")
    left.grid(alpha=0.3)
    left.legend(handles=lines, loc="upper right", frameon=False)
    with atomic_path(target) as temporary:
        figure.savefig(temporary, metadata={"Software": None})
