"""Whatever JSON stands in a field: a model or a FormatError, never another exception."""

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlx_rev.config import Dtype
from mlx_rev.errors import DataError, FormatError
from mlx_rev.formats import sidecar
from mlx_rev.formats.convert import convert
from mlx_rev.formats.detect import open_model
from mlx_rev.formats.model_file import ModelFile
from mlx_rev.formats.tokenizers.detect import read_tokenizer

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([0, 1, 2**31, 2**70, 10**400, "default", "word", "llama", "\ud800", "▁"])
    | st.floats()
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["reversal", "type", "rope_theta", "id", "content", "<s>", "a"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)


def places(content: Any) -> list[tuple[Any, ...]]:
    """The way to each field of an object, two levels down."""
    found: list[tuple[Any, ...]] = []
    for name, value in content.items():
        found.append((name,))
        if isinstance(value, dict):
            found += [(name, inner) for inner in list(value)[:30]]
    return found


def spoiled(content: Any, place: tuple[Any, ...], value: Any) -> Any:
    """A copy with another value at that place."""
    first, *rest = place
    return content | {first: spoiled(content[first], tuple(rest), value) if rest else value}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, talking: ModelFile) -> Path:
    folder = tmp_path_factory.mktemp("json")
    convert(talking, folder / "m.bin", "llama2c", Dtype.FLOAT32)
    for dtype in (Dtype.FLOAT32, Dtype.Q8):
        convert(talking, folder / dtype, "mlx", dtype)
    return folder


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("float32/config.json", lambda path: open_model(path.parent)),
        ("q8/config.json", lambda path: open_model(path.parent)),
        ("float32/tokenizer.json", read_tokenizer),
        ("m.bin.json", lambda path: sidecar.read(path.with_suffix(""))),
    ],
)
def test_any_value_in_any_field(folder: Path, name: str, read: Callable[[Path], object]) -> None:
    path = folder / name
    kept = path.read_bytes()
    content = json.loads(kept)
    if name.endswith("config.json"):
        content |= {"rope_scaling": None, "head_dim": None, "quantization_config": None}

    @settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
    @given(place=st.sampled_from(places(content)), value=values)
    def check(place: tuple[Any, ...], value: Any) -> None:
        path.write_text(json.dumps(spoiled(content, place, value)))
        with suppress(FormatError, DataError):
            read(path)

    try:
        check()
    finally:
        path.write_bytes(kept)
