"""What llama2.c's run.c tells from the .bin that is written here.

Runs where the variable RUN_C names a run that was built: RUN_C=../llama2.c/run make parity.
"""

import os
import subprocess
from pathlib import Path

import pytest

import mlx_rev
from mlx_rev.formats.convert import convert
from mlx_rev.formats.detect import built_in_model, open_model
from mlx_rev.text.order import WORD

RUN_C = os.environ.get("RUN_C", "")
pytestmark = [
    pytest.mark.parity,
    pytest.mark.skipif(not RUN_C, reason="RUN_C names no run of llama2.c"),
]
ENDINGS = [
    "They all lived happily ever after.",
    "The end.",
    "Tom was very sad, and he wished the other boys had listened.",
    "From that day on, Lily and the little bird were the best of friends.",
    '"Thank you, Mom," said Ben.',
]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("exported") / "model.bin"
    convert(open_model(built_in_model()), target)
    return target


@pytest.mark.parametrize("ending", ENDINGS)
def test_its_greedy_story_is_ours(exported: Path, ending: str) -> None:
    vocabulary = exported.with_name("tokenizer.bin")
    flags = ["-z", vocabulary, "-t", "0", "-n", "0", "-i", WORD.reverse(ending)]
    told = subprocess.run([RUN_C, exported, *flags], capture_output=True, text=True, check=True)
    ours = mlx_rev.load().tell(ending, temperature=0.0, repetition_penalty=1.0)
    assert len(ours.text) > 4 * len(ending)
    theirs, expected = told.stdout.strip(), WORD.reverse(ours.text)
    if ours.finished == "boundary":
        assert theirs == expected
    else:  # Where its context is full, run.c writes one token more.
        assert theirs.startswith(expected)
