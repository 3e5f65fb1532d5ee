"""What several test folders need: vocabularies, a small model, the data outside the project."""

import fcntl
import inspect
import io
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import pytest
from hypothesis import settings

from mlx_rev.__main__ import main
from mlx_rev.config import ModelConfig
from mlx_rev.cpu import kernels
from mlx_rev.data import bundled
from mlx_rev.text.codec import StoryCodec
from mlx_rev.text.order import ORDERS, Order
from mlx_rev.text.sentencepiece import SentencePiece
from mlx_rev.text.tokenizer import Tokenizer

settings.register_profile("steady", deadline=None, derandomize=True, max_examples=40)
settings.register_profile("quick", settings.get_profile("steady"), max_examples=12)
settings.load_profile("steady")

Run = Callable[..., subprocess.CompletedProcess[str]]
PROCESS_FIXTURES = {"run_process", "command_environment"}
SHARED = Path(__file__).parents[2] / "shared" / "data"


for _name in (
    *("FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "COLUMNS", "LINES"),
    *("MLX_RANK", "MLX_HOSTFILE"),
):
    os.environ.pop(_name, None)
os.environ["TERM"] = "xterm-256color"


def training_of(command: "subprocess.Popen[str] | subprocess.Popen[bytes]") -> int:
    """The process that a started `mlx-rev train` trains in, a child of the command's own."""
    found = subprocess.run(["pgrep", "-P", str(command.pid)], capture_output=True, check=True)
    return int(found.stdout)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as `process` what asks for a process of its own or the environment of one."""
    for item in items:
        function = getattr(item, "function", None)
        if function and PROCESS_FIXTURES & set(inspect.signature(function).parameters):
            item.add_marker("process")


def pytest_runtest_teardown() -> None:
    """Let the other workers, and the programs that tests start, have what was compiled."""
    kernels.exchange()


@pytest.fixture(scope="session")
def precompiled_headers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of includes with MLX's headers as g++ reads them in no time. Without it they take
    most of a kernel's second."""
    import mlx.core as mx  # must come after mlx_rev

    with common_folder("include", tmp_path_factory) as folder:
        header = Path("mlx/backend/cpu/compiled_preamble.h")
        made = folder / f"{header}.gch"
        if not made.exists() and shutil.which("g++"):
            made.parent.mkdir(parents=True)
            includes = Path(mx.__file__).parent / "include"
            # A header made with other options than a kernel is compiled with would be passed over.
            options = ("-std=c++17", "-O3", "-fPIC", "-w", "-I", str(includes))
            command = ("g++", *options, "-x", "c++-header", str(includes / header), "-o", str(made))
            subprocess.run(command, check=True)
    return folder


@pytest.fixture(scope="session", autouse=True)
def kernels_compile_quickly(request: pytest.FixtureRequest) -> None:
    """Where no kernels are kept yet, as in CI, the suite builds more than a hundred."""
    kernels.use_private_folder()
    folder = Path(os.environ.get("TMPDIR", "")) / "mlx" / version("mlx") / "cpu"
    if sys.platform == "linux" and folder.is_dir() and not any(folder.iterdir()):
        # A kernel's #include looks beside its source first.
        (folder / "mlx").symlink_to(request.getfixturevalue("precompiled_headers") / "mlx")


@contextmanager
def common_folder(name: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A temporary folder that pytest's workers have in common, which one at a time may fill."""
    parent = tmp_path_factory.getbasetemp()
    parent = parent.parent if "PYTEST_XDIST_WORKER" in os.environ else parent
    with open(parent / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield parent / name


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real TinyStories and a real llama2.c model; skips where it is not."""
    if not SHARED.is_dir():
        pytest.skip(f"{SHARED} is not there: real data is no part of the project")
    return SHARED


@pytest.fixture(scope="session")
def some_stories() -> list[str]:
    """A few hundred bundled stories."""
    return [story.text for story in bundled.stories("train", count=400)]


@pytest.fixture(scope="session")
def tokenizers(some_stories: list[str]) -> dict[Order, Tokenizer]:
    """A small vocabulary for each order."""
    return {order: SentencePiece.train(map(order.reverse, some_stories), 400) for order in ORDERS}


@pytest.fixture(scope="session")
def codecs(tokenizers: dict[Order, Tokenizer]) -> dict[Order, StoryCodec]:
    """A codec for each order."""
    return {order: StoryCodec(tokenizers[order], order) for order in ORDERS}


@pytest.fixture(scope="session")
def tiny() -> ModelConfig:
    """A model of two layers that fits `codecs`."""
    return ModelConfig(
        dim=32, n_layers=2, n_heads=4, n_kv_heads=2, hidden_dim=64, vocab_size=400, context=96
    )


@pytest.fixture(scope="session")
def command_environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of commands under test: an empty cache, no colours."""
    return {
        **os.environ,
        "MLX_REV_CACHE": str(tmp_path_factory.mktemp("cache")),
        "NO_COLOR": "1",
        "COLUMNS": "100",
        "PYTHONWARNINGS": "error::RuntimeWarning:mlx_rev",
    }


@pytest.fixture(scope="session")
def run(command_environment: dict[str, str]) -> Run:
    """Run `mlx-rev` with arguments in this process, as if its environment were the commands'.

    What a process of its own costs is most of what a small command takes. What is about a process
    (signals, closed streams, what is read from the environment at import) takes `run_process`.
    Unless it `draws`, a training neither draws its losses nor times the machine's matrix products:
    that takes as long as the rest of a short one.
    """

    def run_command(
        *arguments: object, stdin: str | None = None, cwd: Path | None = None, draws: bool = False
    ) -> subprocess.CompletedProcess[str]:
        given = [str(argument) for argument in arguments]
        output, errors = (io.TextIOWrapper(io.BytesIO(), "utf-8", newline="") for _ in range(2))
        with pytest.MonkeyPatch.context() as patch:
            for name, value in command_environment.items():
                # Where Python and MLX have their temporary files was settled when they started.
                if os.environ.get(name) != value and name != "TMPDIR":
                    patch.setenv(name, value)
            if cwd is not None:
                patch.chdir(cwd)
            if given[:1] == ["train"] and not draws:
                patch.setattr("mlx_rev.cli.train.loss_plot", lambda metrics, path: None)
                patch.setattr("mlx_rev.cli.train.matrix_speed", lambda dtype: 1e11)
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO((stdin or "").encode())))
            patch.setattr(sys, "stdout", output)
            patch.setattr(sys, "stderr", errors)
            try:
                code = main(given)
            except SystemExit as stop:
                code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        written = []
        for stream in (output, errors):
            stream.flush()
            written.append(stream.buffer.getvalue().decode())  # type: ignore[attr-defined]
        return subprocess.CompletedProcess(given, code, *written)

    return run_command


@pytest.fixture(scope="session")
def run_process(command_environment: dict[str, str]) -> Run:
    """Run `mlx-rev` with arguments in a process of its own."""

    def run_command(
        *arguments: object, stdin: str | None = None, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "mlx_rev", *map(str, arguments)],
            input=stdin,
            capture_output=True,
            encoding="utf-8",
            env=command_environment,
            cwd=cwd,
            timeout=800,
            check=False,
        )

    return run_command


@pytest.fixture(scope="session")
def tiny_flags(some_stories: list[str], tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Flags of a training run that takes seconds. With nothing compiled: on a machine with no
    kernels yet the compiler takes ten times as long as the steps."""
    corpus = tmp_path_factory.mktemp("corpus") / "stories.txt"
    corpus.write_text("\n<|endoftext|>\n".join(some_stories[:160]), encoding="utf-8")
    flags = {
        "data": corpus,
        "valid-share": 0.1,
        "vocab-size": 400,
        "dim": 32,
        "n-layers": 2,
        "n-heads": 4,
        "n-kv-heads": 2,
        "hidden-dim": 64,
        "context": 96,
        "dropout": 0.1,
        "batch-size": 4,
        "warmup": 5,
        "log-every": 7,
        "eval-every": 30,
        "eval-stories": 10,
        "save-every": 5,
        "sample-every": 60,
    }
    named = [text for name, value in flags.items() for text in (f"--{name}", str(value))]
    return [*named, "--no-compile"]


@pytest.fixture(scope="session")
def trained(run: Run, tiny_flags: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 60 steps, made by the command."""
    with common_folder("trained", tmp_path_factory) as folder:
        if not folder.exists():
            flags = ("--steps", 60, "--out", folder, "--plain")
            done = run("train", *tiny_flags, *flags, draws=True)
            assert done.returncode == 0, done.stderr
    return folder
