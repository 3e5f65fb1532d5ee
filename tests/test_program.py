"""What is printed for a person to type, is what their shell would find."""

from pathlib import Path

import pytest

from mlx_rev.program import program, runnable


def test_the_program_is_called_by_what_a_shell_would_find(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    binaries = tmp_path / "my env" / "bin"
    binaries.mkdir(parents=True)
    (binaries / "mlx-rev").touch(mode=0o755)
    monkeypatch.setattr("sys.executable", str(binaries / "python"))
    monkeypatch.setenv("PATH", "/nowhere")
    assert program() == f"'{binaries}/mlx-rev'"
    monkeypatch.chdir(tmp_path)
    assert program() == "'my env/bin/mlx-rev'"
    wtac = 'echo "$(mlx-rev wtac)" mlx-rev tells ./mlx-rev tell mlx-rev'
    assert runnable(wtac) == wtac.replace("mlx-rev wtac", "'my env/bin/mlx-rev' wtac")
    monkeypatch.setenv("PATH", str(binaries))
    assert program() == "mlx-rev"
    monkeypatch.setattr("sys.executable", str(tmp_path / "my env" / "python"))
    assert program() == "mlx-rev"
    (binaries / "mlx-rev").unlink()
    assert program() == "'my env/python' -m mlx_rev"
