import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_rev.ui.curves import FRAME_ROWS, curve, drawing


@given(st.lists(st.floats(-1e6, 1e6), max_size=300), st.integers(1, 100), st.integers(1, 12))
def test_curves_fill_their_box(values: list[float], width: int, height: int) -> None:
    lines = curve(values, width, height)
    assert [len(line) for line in lines] == [width] * height
    if values:
        assert all(line[0] != " " for line in lines[-1:])


def test_a_falling_curve_falls() -> None:
    lines = curve([4, 3, 2, 1], 4, 2)
    assert lines[0][0] == lines[1][0] == "█"
    assert lines[0][3] == " "
    assert lines[1][3] == "▁"


@given(
    st.lists(st.floats(0, 1e9), min_size=1, max_size=200), st.integers(1, 120), st.integers(1, 9)
)
def test_a_drawing_fills_its_box(values: list[float], width: int, height: int) -> None:
    points = [(1000 * step, value) for step, value in enumerate(values)]
    lines = drawing("training loss, nats per token", points, width, height, "train").plain
    rows = lines.split("\n")
    assert len(rows) == height + FRAME_ROWS
    if width >= 16:
        assert max(map(len, rows)) <= width


@pytest.mark.parametrize(("count", "under"), [(1, "20"), (5, "100"), (30, "20" + " " * 25 + "600")])
def test_a_drawing_says_its_extremes_and_its_steps(count: int, under: str) -> None:
    points = [(20 * (n + 1), 5.0 - n / 10) for n in range(count)]
    first, top, *_, bottom, steps = drawing("loss", points, 60, 4, "train").plain.split("\n")
    assert first == "loss"
    assert top.startswith(f"  {points[0][1]:.2f} ")
    assert bottom.startswith(f"  {points[-1][1]:.2f} ") or count == 1
    assert steps.strip() == under
    assert steps[7 : 7 + max(count, len(under))].strip() == under
