"""The training step: loss, gradients, clipping and AdamW, compiled as one."""

from collections.abc import Callable

import mlx.core as mx
import numpy as np

from mlx_rev.config import TrainConfig
from mlx_rev.errors import ConfigError
from mlx_rev.model import ops
from mlx_rev.model.llama import Llama, Weights, set_weights
from mlx_rev.train import optimizer
from mlx_rev.train.optimizer import Moments


class TrainingStep:
    """Calls the compiled micro-steps of one optimiser step.

    All that changes is an argument and a result; all that is given is an array; the shapes are
    fixed. The model serves as the description of the computation: after tracing it holds no
    usable weights, so callers give it some (`set_weights`) before they use it.
    """

    def __init__(self, model: Llama, config: TrainConfig) -> None:
        if config.dtype == "bfloat16" and mx.default_device() == mx.Device(mx.cpu):
            raise ConfigError(
                "--dtype bfloat16 on CPU: its matrix products run at a thirtieth of float32's "
                "speed here; use float32"
            )
        self._model, self._config = model, config
        wrap: Callable[[Callable[..., tuple]], Callable[..., tuple]] = (
            mx.compile if config.compile else lambda function: function
        )
        self._gather = wrap(self._accumulate)
        self._finish = wrap(self._accumulate_and_update)

    def __call__(
        self,
        weights: Weights,
        moments: Moments,
        step: int,
        inputs: np.ndarray,
        targets: np.ndarray,
        target_count: int,
    ) -> tuple[Weights, Moments, mx.array, mx.array]:
        """Do step `step` (from 0) on inputs and targets (micro-batches, rows, context).

        Gives the new weights and moments, the mean loss in nats per target, and the gradients'
        norm before clipping; all of them lazy.
        """
        config = self._config
        share = mx.array(1 / target_count)
        keys = mx.random.split(mx.random.key(config.seed + (step << 20)), len(inputs))
        rate = mx.array(optimizer.learning_rate(step, config))
        count = mx.array(step + 1.0)
        loss = mx.array(0.0)
        gradients: Weights = {}
        for index in range(len(inputs) - 1):
            batch = (mx.array(inputs[index]), mx.array(targets[index]), share, keys[index])
            loss, gradients = self._gather(weights, loss, gradients, *batch)
            mx.eval(loss, gradients)
        batch = (mx.array(inputs[-1]), mx.array(targets[-1]), share, keys[-1])
        after, moments_after, loss, norm = self._finish(
            weights, moments, loss, gradients, *batch, rate, count
        )
        return after, Moments(*moments_after), loss, norm

    def _loss(
        self,
        weights: Weights,
        inputs: mx.array,
        targets: mx.array,
        share: mx.array,
        key: mx.array,
    ) -> mx.array:
        """Nats of this micro-batch's targets, as its share of the whole step's mean."""
        if self._config.dtype == "bfloat16":
            weights = {name: weight.astype(mx.bfloat16) for name, weight in weights.items()}
        set_weights(self._model, weights)
        hidden = self._model.hidden(inputs, key)
        counted = mx.where(targets >= 0, share, 0.0)
        return ops.linear_cross_entropy(
            hidden.reshape(-1, hidden.shape[-1]),
            self._model.output_weight,
            targets.reshape(-1),
            counted.reshape(-1),
        )

    def _accumulate(
        self, weights: Weights, loss: mx.array, gradients: Weights, *batch: mx.array
    ) -> tuple[mx.array, Weights]:
        own_loss, own = mx.value_and_grad(self._loss)(weights, *batch)
        if gradients:
            own = {name: gradients[name] + gradient for name, gradient in own.items()}
        return loss + own_loss, own

    def _accumulate_and_update(
        self,
        weights: Weights,
        moments: Moments,
        loss: mx.array,
        gradients: Weights,
        *rest: mx.array,
    ) -> tuple[Weights, tuple[Weights, Weights], mx.array, mx.array]:
        *batch, rate, count = rest
        loss, gradients = self._accumulate(weights, loss, gradients, *batch)
        clipped, norm = optimizer.clip(gradients, self._config.gradient_clip)
        after, moments = optimizer.update(
            weights, clipped, Moments(*moments), rate, count, self._config
        )
        return after, (moments.mean, moments.square), loss, norm
