"""What the documents say is where they say it is: paths, functions, targets of make, layers."""

import ast
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from mlx_rev.__main__ import COMMANDS
from mlx_rev.config_file import FORMER_NAMES
from mlx_rev.repl import commands as repl
from tests.conftest import Run

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted(
    path
    for folder in (".", "docs", "mlx_rev/cpu")
    for path in (ROOT / folder).glob("*.md")
    if path.name != "CHANGELOG.md"  # of times that are past
)
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
HOP = re.compile(r"`([\w/]+\.py): ([\w.]+)`")
FOLDERS = ("mlx_rev", "tests", "tools", "docs", "weights")


def named(document: Path) -> str:
    return str(document.relative_to(ROOT))


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_paths_and_links_exist(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    paths = re.findall(rf"(?<![\w/.])((?:{'|'.join(FOLDERS)})/[\w./]*\w)", text)
    missing = {path for path in paths if "NAME" not in path and not (ROOT / path).exists()}
    links = {link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link}
    missing |= {link for link in links if not (document.parent / link).exists()}
    assert not missing


def test_every_promise_names_its_test() -> None:
    """The rows of docs/reliability.md, but for tables without a column for them."""
    tables = re.split(r"\n\n", (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8"))
    checked = [table for table in tables if table.startswith("|") and "| test" in table]
    rows = [row for table in checked for row in table.splitlines()[2:]]
    assert len(rows) > 30
    assert not [row for row in rows if not re.search(r"`tests/[\w/]+\.py`", row.split("|")[3])]


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_make_has_every_target(document: Path) -> None:
    for target in set(re.findall(r"(?:`|^)make (\w+)", document.read_text("utf-8"), re.MULTILINE)):
        command = ["make", "--dry-run", "--always-make", target, "PYTHON=python3"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0 or target == "run", done.stderr  # llama2.c has that one


def defined(path: Path) -> set[str]:
    """The functions and classes of a module, methods with their class."""
    found = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            own = [each.name for each in node.body if isinstance(each, ast.FunctionDef)]
            found |= {f"{node.name}.{name}" for name in own}
    return found


def test_every_hop_of_the_walks_exists() -> None:
    hops = HOP.findall(CONTRIBUTING)
    assert not [hop for hop in hops if hop[1] not in defined(ROOT / hop[0])]


def test_a_walk_is_at_most_ten_hops_each_with_file_and_function() -> None:
    walk = CONTRIBUTING.split("## A walk through the code")[1].split("\n## ")[0]
    for part in walk.split("\n### ")[1:]:
        steps = re.split(r"^\d+\. ", part, flags=re.MULTILINE)[1:]
        assert 5 <= len(steps) <= 10
        assert all(HOP.match(step) for step in steps)


def test_the_drawing_has_the_layers_of_the_contract() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    layers = project["tool"]["importlinter"]["contracts"][0]["layers"]
    rooms = [layer.replace("mlx_rev.", "").split(" | ") for layer in layers]
    [drawing] = re.findall(r"```\n( +__main__.*?)```", CONTRIBUTING, flags=re.DOTALL)
    left = [line[:46] for line in drawing.splitlines()]
    drawn = [words for line in left if (words := re.findall(r"\w+", line))]
    assert drawn == rooms


ROOMS = dict(re.findall(r"^\| (`\w+/`|the package itself) \| (.+) \|$", CONTRIBUTING, re.MULTILINE))


@pytest.mark.parametrize("room", ROOMS)
def test_the_table_of_rooms_has_every_file(room: str) -> None:
    package = ROOT / "mlx_rev"
    folder = package if "itself" in room else package / room.strip("`/")
    rooms = {each.strip("`") for each in ROOMS} if folder == package else set()
    found = {path.stem for path in folder.glob("*.py") if not path.stem.startswith("__")}
    found |= (
        {f"{path.name}/" for path in folder.iterdir() if path.is_dir()} - rooms - {"__pycache__/"}
    )
    # Each of the command's own is a subcommand.
    commands = {*COMMANDS} if folder.name == "cli" else set()
    assert {*re.findall(r"`(\w+/?)`", ROOMS[room])} - commands == found - commands


def test_every_room_is_in_the_table() -> None:
    rooms = {path.parent.name for path in (ROOT / "mlx_rev").glob("*/__init__.py")}
    assert {room.strip("`/") for room in ROOMS} - {"the package itself"} == rooms


def test_one_module_imports_the_cpu_room() -> None:
    package = ROOT / "mlx_rev"
    importing = {
        str(path.relative_to(package))
        for path in package.rglob("*.py")
        if path.parent.name != "cpu" and re.search(r"\bmlx_rev\.cpu\b", path.read_text("utf-8"))
    }
    assert importing == {"__init__.py", "backend.py"}


def test_readmes_options_variables_and_commands_exist(run: Run) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    helped = " ".join(run(command, "--help").stdout for command in COMMANDS)
    known = set(re.findall(r"--[a-z][a-z0-9-]+", helped))
    known |= {"--" + name.replace("_", "-") for name in FORMER_NAMES}
    others = {"--hostfile", "--backend"}  # mlx.launch's
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]+", text)) - known <= others
    code = "".join(path.read_text("utf-8") for path in (ROOT / "mlx_rev").rglob("*.py"))
    assert all(f'"{name}"' in code for name in re.findall(r"MLX_REV_[A-Z]+", text))
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `/")]
    named = {name for row in rows for name in re.findall(r"`/(\w+)", row)}
    assert named <= set(repl.COMMANDS)  # all of them are in docs/repl.md
