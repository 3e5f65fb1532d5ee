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


def test_declarations_are_told_from_code() -> None:
    source = """\
if TYPE_CHECKING:
    b = 1
@dataclass(frozen=True)
class A:
    a: int | None = 1 | 2

    @property
    def f(self, b: int | None = a or 1) -> int | None:
        return b

    @abstractmethod
    def g(self):
        'More.'
"""
    lines = source.splitlines()
    found = [
        lines[row - 1][column:last] for (row, column), (_, last) in mutation.declarations(source)
    ]
    types = [" int | None"] * 3
    assert sorted(found) == sorted(
        [" TYPE_CHECKING", "@dataclass(frozen=True)", *types, "@abstractmethod"]
    )
