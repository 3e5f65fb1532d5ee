"""That mutation testing leaves no module out and mutates no types; mutants are for its command."""

from pathlib import Path

import mutation
import pytest


def test_every_module_of_the_rooms_has_tests_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(mutation.ROOT)
    modules = [module for module, _ in mutation.modules_of(mutation.Options().modules)]
    assert {module.parts[1] for module in modules} == {"model", "train", "generate", "text"}
    assert [module for module in modules if not mutation.tests_of(module)] == []
    named = {Path("tests", test) for tests in mutation.TESTS.values() for test in tests}
    assert [test for test in named if not test.exists()] == []
    assert mutation.tests_of(Path("mlx_rev/text/order.py")) == [
        "tests/text/test_order.py",
        "tests/text/test_codec.py",
    ]
    assert [*mutation.modules_of(["mlx_rev/text/order.py:51"])] == [
        (Path("mlx_rev/text/order.py"), 51)
    ]


def test_types_are_told_from_code() -> None:
    source = (
        "def f(a: int | None, b=1 | 2) -> int | None:\n    c: int | None = a or b\n    return c\n"
    )
    spans = mutation.annotations(source)
    lines = source.splitlines()
    assert {lines[first[0] - 1][first[1] : last[1]] for first, last in spans} == {"int | None"}
    assert len(spans) == 3
