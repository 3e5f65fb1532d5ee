"""`mlx-rev tell --best-of`: it prints what the API chooses, and refuses what makes no sense."""

from pathlib import Path

import pytest

import mlx_rev
from mlx_rev.generate.judge import load_judge
from tests.conftest import Run

ENDING = "Tom was happy."
SETTINGS = ("--max-tokens", 6, "--seed", 3, "--temperature", 1.5)


def test_the_best_of_several_is_printed(run: Run, trained: Path, tmp_path: Path) -> None:
    teller = mlx_rev.load(trained)
    chosen = {"max_tokens": 6, "temperature": 1.5}
    forward = tmp_path / "forward.bin"
    tokenizer = ("--tokenizer", trained / "tokenizer.model")
    done = run("convert", trained, forward, "--reversal", "none", *tokenizer)
    assert done.returncode == 0, done.stderr
    (tmp_path / "forward.bin.json").unlink()
    judge = load_judge(str(forward), trained / "tokenizer.model")
    judged = ("--judge", forward, "--judge-tokenizer", trained / "tokenizer.model")
    ends = ("tell", ENDING, "--model", trained, *SETTINGS, "--begin", "A fox")
    done = run(*ends, *judged)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("A fox")
    assert done.stdout.endswith(f"{ENDING}\n")
    for flags, by in (((), None), (judged, judge)):
        done = run(
            "tell", ENDING, "--model", trained, *SETTINGS, "--best-of", 4, "--count", 2, *flags
        )
        assert done.returncode == 0, done.stderr
        best = [teller.tell(ENDING, best_of=4, judge=by, seed=seed, **chosen) for seed in (3, 7)]
        assert done.stdout == "\n\n".join(story.text for story in best) + "\n"
        assert ("forward.bin does not say how its text is reversed" in done.stderr) == bool(by)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--best-of", 0), "--best-of 0: expected 1 or more"),
        (("--judge", "x"), "--judge x: chooses among stories; give --best-of 16, or --begin"),
        (("--best-of", 2, "--judge", "gone.bin"), "gone.bin"),
        (("--best-of", 2, "--begin", "A fox"), "--begin and --best-of: give one of them"),
        (("--begin", "A fox"), "does not read forwards; name a model that does with --judge"),
    ],
)
def test_what_cannot_be_told(run: Run, trained: Path, flags: tuple[object, ...], said: str) -> None:
    done = run("tell", ENDING, "--model", trained, "--max-tokens", 2, *flags)
    assert done.returncode == 2
    assert done.stdout == ""
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
