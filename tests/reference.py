"""The whole algorithm on a page: a Llama's forward pass, its loss, and a step of AdamW.

Nothing here is fast, and nothing comes from mlx_rev but the shape. Each row, head and position is
what the formula says; gradients are mx.grad's. The program is held against this.
"""

import math

import mlx.core as mx

from mlx_rev.config import ModelConfig, TrainConfig

Weights = dict[str, mx.array]


def rms_norm(x: mx.array, weight: mx.array, eps: float) -> mx.array:
    return x / mx.sqrt(mx.mean(x * x, axis=-1, keepdims=True) + eps) * weight


def rotate(x: mx.array, theta: float) -> mx.array:
    """RoPE of one head (T, E): pair i turns by position · theta^(-2i/E)."""
    length, width = x.shape
    angle = mx.array(
        [[p * theta ** (-2 * i / width) for i in range(width // 2)] for p in range(length)]
    )
    first, second = x[:, : width // 2], x[:, width // 2 :]
    cos, sin = mx.cos(angle), mx.sin(angle)
    return mx.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)


def attention(config: ModelConfig, w: Weights, layer: str, x: mx.array, seen: mx.array) -> mx.array:
    """x (T, D); seen (T, T) is true where a position sees another."""
    width, outputs = config.head_dim, []
    q, k, v = (x @ w[f"{layer}.self_attn.{name}_proj.weight"].T for name in "qkv")
    for head in range(config.n_heads):
        kv = head * config.n_kv_heads // config.n_heads
        own, others = slice(head * width, (head + 1) * width), slice(kv * width, (kv + 1) * width)
        scores = rotate(q[:, own], config.rope_theta) @ rotate(k[:, others], config.rope_theta).T
        scores = mx.where(seen, scores / math.sqrt(width), -mx.inf)
        outputs.append(mx.softmax(scores, axis=-1) @ v[:, others])
    return mx.concatenate(outputs, axis=-1) @ w[f"{layer}.self_attn.o_proj.weight"].T


def feed_forward(w: Weights, layer: str, x: mx.array) -> mx.array:
    gate = x @ w[f"{layer}.mlp.gate_proj.weight"].T
    up = x @ w[f"{layer}.mlp.up_proj.weight"].T
    return (gate / (1 + mx.exp(-gate)) * up) @ w[f"{layer}.mlp.down_proj.weight"].T


def logits(config: ModelConfig, w: Weights, tokens: list[int], start: list[int]) -> mx.array:
    """(T, V) for one row of tokens, position t seeing start[t] to t."""
    length = len(tokens)
    seen = mx.array([[start[t] <= s <= t for s in range(length)] for t in range(length)])
    x = w["model.embed_tokens.weight"][mx.array(tokens)]
    for index in range(config.n_layers):
        layer = f"model.layers.{index}"
        norm = rms_norm(x, w[f"{layer}.input_layernorm.weight"], config.norm_eps)
        x = x + attention(config, w, layer, norm, seen)
        norm = rms_norm(x, w[f"{layer}.post_attention_layernorm.weight"], config.norm_eps)
        x = x + feed_forward(w, layer, norm)
    x = rms_norm(x, w["model.norm.weight"], config.norm_eps)
    return x @ w["model.embed_tokens.weight" if config.tied else "lm_head.weight"].T


def mean_loss(config: ModelConfig, w: Weights, rows: list[tuple[list, list, list]]) -> mx.array:
    """Nats per target of rows (tokens, targets, start); a target below 0 is none."""
    total, count = mx.array(0.0), 0
    for tokens, targets, start in rows:
        found = logits(config, w, tokens, start)
        for position, target in enumerate(targets):
            if target >= 0:
                total = total + mx.logsumexp(found[position]) - found[position, target]
                count += 1
    return total / count


def learning_rate(config: TrainConfig, step: int) -> float:
    if step < config.warmup:
        return config.learning_rate * (step + 1) / config.warmup
    done = (step - config.warmup) / max(1, config.steps - config.warmup)
    low, high = config.min_learning_rate, config.learning_rate
    return low + (high - low) * (1 + math.cos(math.pi * done)) / 2


def train(
    shape: ModelConfig, config: TrainConfig, w: Weights, batches: list[list[tuple]]
) -> tuple[list[float], Weights]:
    """The loss of a step on each of the batches, and the weights after the last."""
    losses, mean, square = [], dict.fromkeys(w, 0.0), dict.fromkeys(w, 0.0)
    for step, rows in enumerate(batches):
        loss, gradients = mx.value_and_grad(lambda w, rows=rows: mean_loss(shape, w, rows))(w)
        norm = math.sqrt(sum(mx.sum(g * g).item() for g in gradients.values()))
        clip = min(1.0, config.gradient_clip / norm)
        rate = learning_rate(config, step)
        for name, weight in w.items():
            g = gradients[name] * clip
            mean[name] = config.beta1 * mean[name] + (1 - config.beta1) * g
            square[name] = config.beta2 * square[name] + (1 - config.beta2) * g * g
            m = mean[name] / (1 - config.beta1 ** (step + 1))
            v = square[name] / (1 - config.beta2 ** (step + 1))
            decay = config.weight_decay if weight.ndim > 1 else 0.0
            w = w | {name: weight - rate * (m / (mx.sqrt(v) + 1e-8) + decay * weight)}
        losses.append(loss.item())
        mx.eval(w, mean, square)
    return losses, w
