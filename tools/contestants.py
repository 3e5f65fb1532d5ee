"""What tools/benchmark.py compares: each in a process of its own, doing rounds when told to.

    python tools/contestants.py KIND SHAPE [PROGRAM]

Writes `ready` when it is warm; then, for each line N on standard input, does N steps (or writes N
tokens a story) and writes a JSON object: seconds and tokens; at the end of input, its peak memory.
"""

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import programs

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

Rounds = Callable[[int], int | tuple[int, float]]
"""Does so many steps and gives how many tokens that were and, where a program takes its own time,
the seconds; 0 is the end."""


class Shape(NamedTuple):
    """A model and a batch."""

    dim: int
    layers: int
    heads: int
    kv_heads: int
    hidden: int
    vocabulary: int
    context: int
    rows: int


SHAPES = {
    "15m-32000": Shape(288, 6, 6, 6, 768, 32_000, 256, 8),
    "15m-4096": Shape(288, 6, 6, 6, 768, 4096, 256, 8),
    "128-2048": Shape(128, 6, 8, 8, 352, 2048, 256, 16),
    "260k-512": Shape(64, 5, 8, 4, 172, 512, 512, 16),
    "tiny": Shape(32, 2, 4, 2, 64, 512, 64, 4),
}
"""`tiny` is for trying the benchmark itself."""


def mlx_rev_training(shape: Shape) -> Rounds:
    """This project's step: shared among workers, compiled, as `mlx-rev train` runs it."""
    import mlx.core as mx

    from mlx_rev import backend
    from mlx_rev.config import TrainConfig
    from mlx_rev.data.batches import Batch
    from mlx_rev.model.llama import Llama, get_weights, initialise
    from mlx_rev.train import optimizer
    from mlx_rev.train.step import TrainingStep

    chosen = backend.choose()
    config = chosen.decided(TrainConfig(batch_size=shape.rows))
    chosen.prepare(config.workers)
    model = Llama(_config(shape))
    initialise(model, 0)
    weights = get_weights(model)
    moments = optimizer.initial_moments(weights, config)
    step = TrainingStep(model.config, config, weights, moments, backend=chosen)
    del model, weights, moments  # they would keep the first ones' memory
    tokens = _tokens(shape)
    inputs, targets = tokens[None, :, :-1], tokens[None, :, 1:]
    batch = Batch(inputs, targets, np.zeros_like(inputs), inputs.size)
    done = 0

    def rounds(steps: int) -> int:
        nonlocal done
        for _ in range(steps):
            loss, _ = step(done, batch)
            mx.eval(step.weights, step.moments, loss)
            done += 1
        if not steps:
            step.close()
        return steps * inputs.size

    return rounds


def mlx_lm_training(shape: Shape) -> Rounds:
    """mlx-lm's own Llama with mlx.nn's loss and mlx.optimizers' AdamW, compiled."""
    from functools import partial

    import mlx.core as mx
    import mlx.nn as nn
    import mlx.optimizers as optimizers

    model = _mlx_lm_model(shape)
    optimiser = optimizers.AdamW(5e-4, bias_correction=True)
    optimiser.init(model.trainable_parameters())
    tokens = mx.array(_tokens(shape))

    def loss_of(inputs: mx.array, targets: mx.array) -> mx.array:
        return nn.losses.cross_entropy(model(inputs), targets, reduction="mean")

    state = [model.state, optimiser.state]

    @partial(mx.compile, inputs=state, outputs=state)
    def step(inputs: mx.array, targets: mx.array) -> mx.array:
        loss, gradients = nn.value_and_grad(model, loss_of)(inputs, targets)
        gradients, _ = optimizers.clip_grad_norm(gradients, 1.0)
        optimiser.update(model, gradients)
        return loss

    def rounds(steps: int) -> int:
        for _ in range(steps):
            mx.eval(step(tokens[:, :-1], tokens[:, 1:]), state)
        return steps * shape.rows * shape.context

    return rounds


def torch_training(shape: Shape, *, compiled: bool = False, processes: int = 1) -> Rounds:
    """A plain Llama in PyTorch, eager or compiled; several processes average their gradients."""
    import torch
    from torch_llama import TorchLlama

    torch.set_num_threads(max(1, _cores() // processes))
    torch.manual_seed(0)
    model = TorchLlama(*shape[:6], context=shape.context)
    optimiser = torch.optim.AdamW(model.parameters(), 5e-4, fused=True)
    rank = int(os.environ.get("RANK", 0))
    own = torch.tensor(_tokens(shape)).chunk(processes)[rank].long()
    forward: Any = torch.compile(model) if compiled else model

    def rounds(steps: int) -> int:
        for _ in range(steps):
            optimiser.zero_grad(set_to_none=True)
            forward(own[:, :-1], own[:, 1:]).backward()
            if processes > 1:
                for weight in model.parameters():
                    torch.distributed.all_reduce(weight.grad)
                    weight.grad /= processes
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
        return steps * shape.rows * shape.context

    return rounds


def mlx_rev_generation(shape: Shape) -> Rounds:
    """This project's decoder, with the text of every story at every token."""
    from mlx_rev import backend
    from mlx_rev.config import SampleConfig
    from mlx_rev.generate.decode import begin_stories, write_stories
    from mlx_rev.model.llama import Llama, initialise
    from mlx_rev.text.codec import StoryCodec
    from mlx_rev.text.order import WORD

    chosen = backend.choose()
    model = Llama(_config(shape), chosen.ops)
    initialise(model, 0)
    codec = StoryCodec(_tokenizer(shape.vocabulary), WORD)
    reader = chosen.reader(model)

    def rounds(tokens: int) -> int:
        if not tokens:
            return 0
        settings = SampleConfig(temperature=1.0, top_p=0.9, max_tokens=tokens)
        stories = begin_stories(model, codec, ["w7 w8 w9."] * shape.rows, settings)
        written = write_stories(model, codec, stories, settings, reader)
        return sum(1 for story in written if story.text)

    return rounds


def mlx_lm_generation(shape: Shape) -> Rounds:
    """mlx-lm's generate_step, or batch_generate for several stories."""
    import mlx.core as mx
    from mlx_lm.generate import batch_generate, generate_step
    from mlx_lm.sample_utils import make_sampler

    model = _mlx_lm_model(shape)
    sampler = make_sampler(temp=1.0, top_p=0.9)
    prompt = [1, 300, 301, 302, 303]

    class Tokenizer:
        eos_token_ids = (1,)

        def decode(self, ids: list[int]) -> str:
            return " ".join(map(str, ids))

    def rounds(tokens: int) -> int:
        if not tokens:
            return 0
        if shape.rows > 1:
            made = batch_generate(
                model, Tokenizer(), [prompt] * shape.rows, max_tokens=tokens, sampler=sampler,
                return_token_ids=True, completion_batch_size=shape.rows,
            )  # fmt: skip
            return sum(len(ids) for ids in made.token_ids or ())
        steps = generate_step(mx.array(prompt), model, max_tokens=tokens, sampler=sampler)
        return sum(1 for _ in steps)

    return rounds


def matmul(shape: Shape) -> Rounds:
    """The machine's peak: products of square float32 matrices; a "token" is a GFLOP."""
    import mlx.core as mx

    size = 1536
    one, other = mx.random.normal((size, size)), mx.random.normal((size, size))
    mx.eval(one, other)

    def rounds(steps: int) -> int:
        for _ in range(steps):
            mx.eval(one @ other)
        return round(steps * 2 * size**3 / 1e9)

    return rounds


def _program(shape: Shape, make: Callable[..., Rounds]) -> Rounds:
    """A program by others that writes with the same weights, on as many threads as we do."""
    threads = int(os.environ.get("OPENBLAS_NUM_THREADS") or _cores())
    return make(_config(shape), _tokenizer(shape.vocabulary), sys.argv[3], threads)


KINDS: dict[str, Callable[[Shape], Rounds]] = {
    "mlx-rev": mlx_rev_training,
    "stock": mlx_lm_training,
    "mlx-lm": mlx_lm_training,
    "torch-eager": torch_training,
    "torch-compile": lambda shape: torch_training(shape, compiled=True),
    "torch-eager-2": lambda shape: torch_training(shape, processes=2),
    "torch-compile-2": lambda shape: torch_training(shape, compiled=True, processes=2),
    "mlx-rev-tells": mlx_rev_generation,
    "mlx-lm-tells": mlx_lm_generation,
    "llama.cpp-tells": lambda shape: _program(shape, programs.llama_cpp),
    "run.c-tells": lambda shape: _program(shape, programs.run_c),
    "matmul": matmul,
}


def main() -> None:
    """Serve rounds of one contestant."""
    kind, dimensions = sys.argv[1], Shape(*map(int, sys.argv[2].split(",")))
    if kind != "stock" and not kind.startswith("torch"):
        import mlx_rev  # noqa: F401  the BLAS, before MLX
    if kind.endswith("-2"):
        _in_two_processes(kind, dimensions)
        return
    by_others = kind in ("llama.cpp-tells", "run.c-tells")
    _serve(KINDS[kind](dimensions), iter(sys.stdin.readline, ""), by_others=by_others)


def _serve(rounds: Rounds, lines: Any, *, by_others: bool) -> None:
    rounds(1)
    _say("ready")
    for line in lines:
        start = time.perf_counter()
        done = rounds(int(line))
        taken = time.perf_counter() - start
        tokens, seconds = done if isinstance(done, tuple) else (done, taken)
        _say(json.dumps({"seconds": seconds, "tokens": tokens}))
    rounds(0)
    _say(
        json.dumps({"peak": _peak(resource.RUSAGE_CHILDREN if by_others else resource.RUSAGE_SELF)})
    )


def _in_two_processes(kind: str, shape: Shape) -> None:
    """Both ranks of a PyTorch pair: the first reads the lines and tells the second."""
    import subprocess

    import torch

    first = "RANK" not in os.environ
    if first:
        os.environ |= {
            "RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(20_000 + os.getpid() % 20_000), "OMP_NUM_THREADS": "1",
        }  # fmt: skip
        second = subprocess.Popen([sys.executable, *sys.argv], env={**os.environ, "RANK": "1"})
    torch.distributed.init_process_group("gloo")
    rounds = KINDS[kind](shape)

    def together(steps: int) -> int | tuple[int, float]:
        told = torch.tensor([steps])
        torch.distributed.broadcast(told, 0)
        return rounds(int(told)) if told > 0 else 0

    if not first:
        while together(0):
            pass
        torch.distributed.all_reduce(torch.tensor([_peak()]))
        return
    together(1)
    _say("ready")
    for line in iter(sys.stdin.readline, ""):
        start = time.perf_counter()
        tokens = together(int(line))
        _say(json.dumps({"seconds": time.perf_counter() - start, "tokens": tokens}))
    together(0)
    peak = torch.tensor([_peak()])
    torch.distributed.all_reduce(peak)
    _say(json.dumps({"peak": int(peak)}))
    second.wait()


def _say(text: str) -> None:
    print(text, flush=True)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def _peak(whose: int = resource.RUSAGE_SELF) -> int:
    """Bytes of memory that this process, or the largest one that it started, had at most."""
    peak = resource.getrusage(whose).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _tokens(shape: Shape) -> np.ndarray:
    """Random tokens (rows, context + 1)."""
    random = np.random.default_rng(0)
    return random.integers(3, shape.vocabulary, (shape.rows, shape.context + 1)).astype(np.int32)


def _config(shape: Shape) -> Any:
    from mlx_rev.config import ModelConfig

    return ModelConfig(
        dim=shape.dim,
        n_layers=shape.layers,
        n_heads=shape.heads,
        n_kv_heads=shape.kv_heads,
        hidden_dim=shape.hidden,
        vocab_size=shape.vocabulary,
        context=shape.context,
    )


def _mlx_lm_model(shape: Shape) -> Any:
    import mlx.core as mx
    from mlx_lm.models import llama

    mx.random.seed(0)
    model = llama.Model(
        llama.ModelArgs(
            model_type="llama",
            hidden_size=shape.dim,
            num_hidden_layers=shape.layers,
            intermediate_size=shape.hidden,
            num_attention_heads=shape.heads,
            num_key_value_heads=shape.kv_heads,
            rms_norm_eps=1e-5,
            vocab_size=shape.vocabulary,
            tie_word_embeddings=True,
        )
    )
    mx.eval(model.parameters())
    return model


def _tokenizer(vocabulary: int) -> Any:
    """A vocabulary of made-up words."""
    from mlx_rev.formats.tokenizers.sentencepiece_model import Piece, kind_at, tokenizer_of

    texts = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁"]
    texts += [f"▁w{number}" for number in range(vocabulary - len(texts))]
    pieces = [Piece(text, -float(n), kind_at(n, text)) for n, text in enumerate(texts)]
    return tokenizer_of(pieces, adds_space=True, source="made up")


if __name__ == "__main__":
    main()
