"""The same Llama in plain PyTorch, for the benchmark: what a person would write there."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class TorchLlama(nn.Module):
    """Gives the mean loss of tokens (B, T) and targets (B, T)."""

    def __init__(
        self,
        dim: int,
        layers: int,
        heads: int,
        kv_heads: int,
        hidden: int,
        vocabulary: int,
        *,
        context: int,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, dim)
        nn.init.normal_(self.embedding.weight, std=0.02)
        self.layers = nn.ModuleList(Layer(dim, heads, kv_heads, hidden) for _ in range(layers))
        self.norm = nn.RMSNorm(dim, eps=1e-5)
        head_dim = dim // heads
        frequencies = 10_000 ** (-torch.arange(0, head_dim, 2) / head_dim)
        angles = torch.arange(context)[:, None] * frequencies
        self.register_buffer("cos", angles.cos())
        self.register_buffer("sin", angles.sin())

    def forward(self, tokens: Tensor, targets: Tensor) -> Tensor:
        """The mean cross-entropy in nats."""
        x = self.embedding(tokens)
        for layer in self.layers:
            x = layer(x, self.cos, self.sin)
        logits = functional.linear(self.norm(x), self.embedding.weight)
        return functional.cross_entropy(logits.flatten(0, 1), targets.flatten())


class Layer(nn.Module):
    """Attention and SwiGLU, each on a residual branch."""

    def __init__(self, dim: int, heads: int, kv_heads: int, hidden: int) -> None:
        super().__init__()
        self.heads, self.kv_heads, head_dim = heads, kv_heads, dim // heads
        self.attention_norm = nn.RMSNorm(dim, eps=1e-5)
        self.feed_forward_norm = nn.RMSNorm(dim, eps=1e-5)
        self.queries = nn.Linear(dim, dim, bias=False)
        self.keys = nn.Linear(dim, kv_heads * head_dim, bias=False)
        self.values = nn.Linear(dim, kv_heads * head_dim, bias=False)
        self.output = nn.Linear(dim, dim, bias=False)
        self.gate = nn.Linear(dim, hidden, bias=False)
        self.up = nn.Linear(dim, hidden, bias=False)
        self.down = nn.Linear(hidden, dim, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """x (B, T, D) after this layer."""
        batch, length, dim = x.shape
        h = self.attention_norm(x)
        q = self.queries(h).view(batch, length, self.heads, -1).transpose(1, 2)
        k = self.keys(h).view(batch, length, self.kv_heads, -1).transpose(1, 2)
        v = self.values(h).view(batch, length, self.kv_heads, -1).transpose(1, 2)
        heads = functional.scaled_dot_product_attention(
            turned(q, cos, sin), turned(k, cos, sin), v, is_causal=True,
            enable_gqa=self.kv_heads != self.heads,
        )  # fmt: skip
        x = x + self.output(heads.transpose(1, 2).reshape(batch, length, dim))
        h = self.feed_forward_norm(x)
        return x + self.down(functional.silu(self.gate(h)) * self.up(h))


def turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """RoPE on x (B, H, T, E)."""
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
