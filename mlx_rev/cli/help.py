"""What the commands are: a line and examples for each."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Help:
    """What help says of a command, besides its options."""

    summary: str
    examples: tuple[str, ...]
    """What comes after the program's name."""


COMMANDS = {
    "tell": Help(
        "write stories that end as you say",
        (
            '"They shared the cake and everyone was happy."',
            '"Tom was proud." --count 4 --temperature 0.7 --model runs/bundled-quick',
        ),
    ),
    "repl": Help("type an ending, watch the story grow", ("", "--model runs/bundled-quick")),
    "train": Help(
        "train a model, or resume a run",
        (
            "",
            "--data my-stories.txt --steps 2000 --out runs/mine",
            "--preset 15m --data tinystories --check",
            "--resume runs/mine",
        ),
    ),
    "prepare": Help(
        "turn a corpus into token shards and report on them",
        (
            "--data my-stories.txt",
            "--data my-stories.txt --show 2",
            "--data tinystories-v2,my-stories.txt=3 --deduplicate",
        ),
    ),
    "data": Help(
        "show and verify what is in token shards",
        ("runs/bundled-quick", "runs/mine --context 512 --plot lengths.png"),
    ),
    "runs": Help("list training runs, or show one", ("", "runs/bundled-quick")),
    "convert": Help(
        "convert between llama2.c .bin, mlx-lm folders and GGUF",
        ("runs/mine story.gguf", "runs/mine story.gguf --dtype q8", "stories9m folder-for-mlx-lm"),
    ),
    "score": Help(
        "how well a model predicts a text, or many",
        ("my-stories.txt --model runs/mine", "bundled"),
    ),
    "evaluate": Help(
        "measure a model's stories beside real ones",
        ("runs/mine --judge hf:HuggingFaceTB/SmolLM2-135M",),
    ),
    "wtac": Help("reverse the words of standard input", ("< story.txt > reversed.txt",)),
    "completion": Help(
        "print a script for completion in a shell",
        (
            "bash > ~/.local/share/bash-completion/completions/mlx-rev",
            'zsh > "${fpath[1]}/_mlx-rev"',
            "fish > ~/.config/fish/completions/mlx-rev.fish",
        ),
    ),
}
"""Each is a module in mlx_rev/cli with a `main(arguments, program)`, and with the dataclass of its
options, called TellCommand and so on."""


def examples(command: str, program: str) -> str:
    """The examples of a command as lines, to stand below its options."""
    lines = [f"  {program} {example}".rstrip() for example in COMMANDS[command].examples]
    return "\n".join(["examples:", *lines, ""])


def usage() -> str:
    """The help of the command as a whole."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {command.summary}" for name, command in COMMANDS.items()]
    return "\n".join(
        [
            "usage: mlx-rev COMMAND [options]",
            "",
            "Llamas that write stories backwards, from their ending. In a terminal, mlx-rev",
            "alone opens the REPL.",
            "",
            *lines,
            "",
            "mlx-rev help COMMAND explains a command and lists its options.",
            "",
        ]
    )
