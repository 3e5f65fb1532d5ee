"""A session at a shell in which every command is used: all that it prints."""

import re
import shlex
import shutil
from pathlib import Path

from mlx_rev.cli.help import COMMANDS
from tests.conftest import Run

SESSION = """\
$ mlx-rev
usage: mlx-rev COMMAND [options]

Llamas that write stories backwards, from their ending. In a terminal, mlx-rev
alone opens the REPL.

<lines>

mlx-rev help COMMAND explains a command and lists its options.
$ mlx-rev help runs
usage: mlx-rev runs [-h] [RUN] [--folder PATH] [--plain | --no-plain]

  List the training runs in a folder: their models, steps, best bits per byte,
  size, and how long ago they changed. Or show one of them, with its curves.

<lines>

examples:
  mlx-rev runs
  mlx-rev runs runs/bundled-quick
$ mlx-rev evalaute
! mlx-rev: unknown command 'evalaute'; did you mean evaluate?
$ mlx-rev wtac
.words Two
$ mlx-rev tell "They ran." --model runs/mine --max-tokens 3
<any>They ran.
$ mlx-rev repl --model runs/mine --max-tokens 3
<any>He was happy.

<any>They ran.
$ mlx-rev train --resume runs/mine
! mlx-rev train: runs/mine: already finished, at step 60 of 60; to train further, give --steps <any>
$ mlx-rev prepare --data stories.txt --vocab-size 400 --context 96
choosing text for the vocabulary
learning a vocabulary of 400 pieces
tokenising the train stories of stories.txt
tokenising the valid stories of stories.txt
<any>stories.txt, word2
                                          train    valid
 stories                                  <any>
 bytes of text                            <any>
 tokens                                   <any>
 bytes per token                          <any>
 rows of 96                               <any>
 padding                                  <any>
 targets that see their story's boundary  <any>
 stories cut                              <any>
 pieces per cut story                     <any>
$ mlx-rev data runs/mine
runs/mine
                                   train         valid
 stories                             147            13
 tokens  <any>
<lines>
 checksums                  all verified  all verified

lengths in tokens, train
<lines>
$ mlx-rev runs
run        model                       steps    best     size   age
runs/mine  44K, 2 layers of 32, word2  60/60  <any>
$ mlx-rev runs nowhere
! mlx-rev runs: nowhere: no training run (it has no config.toml); there are runs/mine
$ mlx-rev runs runs/mine
runs/mine
model  44K, 2 layers of 32, word2, vocabulary 400, context 96
data   <any>stories.txt
steps  60 of 60, finished
best   <any> bits per byte, at step 60
size   <any>, last changed <any> ago

training loss, nats per token
<lines>
validation, bits per byte
<lines>
talk to the model:   <any> tell "They all lived happily ever after." --model runs/mine
$ mlx-rev convert runs/mine mine.gguf
<any>gguf, float32
 file       bytes    sha256
 mine.gguf  <any>
21 tensors, 44,192 parameters
run it: <any>
$ mlx-rev score "Tom ran. He was happy." --model runs/mine
22 bytes, <any> tokens: <any> nats per token, <any> bits per byte

  bits/byte
      <any>  Tom ran.
      <any>  He was happy.
$ mlx-rev evaluate runs/mine --count 4 --max-tokens 3
runs/mine, 4 endings of stories.txt
 mean [95% interval]  <any>model<any>real<any>shuffled
 a content word over 8%  <lines>
 longest copied run, in words  <any>
! note: without --judge MODEL, one that reads forwards, neither likelihood nor how well <any>
! telling
! reading the training text
$ mlx-rev completion fish
<lines>
complete -c mlx-rev -e
<lines>
"""
"""What is printed, errors with ! in front. <any> is anything in a line, <lines> any number of
lines."""
TYPED = {"wtac": "Two words.\n", "repl": "He was happy.\n\nThey ran.\n"}


def printed(run: Run, folder: Path, session: str) -> str:
    """The session anew: each line with a prompt is run."""
    shown = []
    for line in session.splitlines():
        if not line.startswith("$ mlx-rev"):
            continue
        given = shlex.split(line.removeprefix("$ mlx-rev"))
        done = run(*given, stdin=TYPED.get(given[0]) if given else None, cwd=folder)
        shown += [line, *done.stdout.splitlines()]
        shown += [f"! {error}" for error in done.stderr.splitlines()]
    return "\n".join(text.rstrip() for text in shown) + "\n"


def test_a_session_at_the_shell(
    run: Run, trained: Path, tiny_flags: list[str], tmp_path: Path
) -> None:
    shutil.copytree(trained, tmp_path / "runs" / "mine", symlinks=True)
    shutil.copy(tiny_flags[tiny_flags.index("--data") + 1], tmp_path / "stories.txt")
    found = printed(run, tmp_path, SESSION)
    wanted = re.escape(SESSION).replace("<any>", "[^\n]*").replace("<lines>", "(?:.|\n)*?")
    assert re.fullmatch(wanted, found), found


def test_every_command_is_in_the_session() -> None:
    assert {*re.findall(r"^\$ mlx-rev (\w+)", SESSION, re.MULTILINE)} >= {*COMMANDS}
