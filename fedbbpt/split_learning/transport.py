"""What carries activations and gradients between a client and the body, and counts their bytes."""

from typing import Literal, Protocol

import numpy as np

from fedbbpt.split_learning.activations import ActivationDtype, pack, unpack
from fedbbpt.split_learning.protocol import Forward, Part, SplitModel
from fedbbpt.split_learning.sgd import sgd_step
from fedbbpt.types import Float32, Parameters, Traffic, Usage

NO_FORWARD = "gradients came back for activations that never went forward"


class Transport(Protocol):
    """A client's end: the body as a function of activations, and its backward pass."""

    @property
    def traffic(self) -> Traffic:
        """Bytes so far."""

    @property
    def usage(self) -> Usage:
        """Samples that went forward through the body, and in how many batches."""

    def forward(self, values: Float32) -> Float32:
        """The body's output for activations, both (b, n, D)."""

    def backward(self, gradients: Float32) -> Float32:
        """Gradients with respect to the last `forward`'s input, from those with respect to its output, both (b, n, D).

        To be called once at most for each `forward`.
        """


class BypassTransport:
    """Leads straight from head to tail, past the body; nothing travels."""

    traffic = Traffic()
    usage = Usage()

    def forward(self, values: Float32) -> Float32:
        """The activations themselves."""
        return values

    def backward(self, gradients: Float32) -> Float32:
        """The gradients themselves."""
        return gradients


class BodyRunner:
    """The body, as the server runs it for one client; if it is trained, a copy for this client alone."""

    def __init__(self, model: SplitModel, body: Float32, trained: frozenset[Part], lr: float) -> None:
        self._model, self._trained, self._lr = model, trained, lr
        self._parameters: Parameters = {"body": body}
        self._pending: Forward | None = None

    @property
    def body(self) -> Float32:
        """The body's parameters after the steps so far."""
        return self._parameters["body"]

    def forward(self, values: Float32) -> Float32:
        """See `Transport.forward`."""
        self._pending = None  # frees it before the next one, which is as large, is made
        self._pending = self._model.body(self._parameters, values, self._trained)
        return self._pending.values

    def backward(self, gradients: Float32) -> Float32:
        """See `Transport.backward`; also a step of SGD if the body is trained."""
        if self._pending is None:
            raise RuntimeError(NO_FORWARD)
        backward, self._pending = self._pending.vjp(gradients), None
        if backward.values is None:
            raise RuntimeError("the body gave no gradients with respect to its input")
        self._parameters = sgd_step(self._parameters, backward.gradients, self._lr)
        return backward.values


class InProcessTransport:
    """Client and server in one process; still, only bytes pass between them.

    With `dtype` None the client holds the body itself, and nothing passes.
    """

    def __init__(self, runner: BodyRunner, dtype: ActivationDtype | None = "float32") -> None:
        self._runner, self._dtype = runner, dtype
        self.traffic, self.usage = Traffic(), Usage()

    def forward(self, values: Float32) -> Float32:
        """See `Transport.forward`."""
        self.usage += Usage(len(values), 1)
        return self._send(self._runner.forward(self._send(values, "up")), "down")

    def backward(self, gradients: Float32) -> Float32:
        """See `Transport.backward`."""
        return self._send(self._runner.backward(self._send(gradients, "up")), "down")

    def _send(self, values: Float32, direction: Literal["up", "down"]) -> Float32:
        if self._dtype is None:
            return values
        message = pack(values, self._dtype)
        self.traffic += Traffic(**{direction: len(message)})
        return unpack(message)


class ClippedNoisyTransport:
    """Limits what the server sees of a sample: clips its activations and adds noise to them.

    The activations (n, D) of each sample are clipped to a norm of `clip_norm`; then Gaussian noise of standard
    deviation `noise_multiplier` · `clip_norm` is added to each number, as by the Gaussian mechanism (Dwork & Roth 2014,
    appendix A), but without its guarantee: no privacy budget is accounted, and gradients go as they are. The backward
    pass treats the clipping as a constant factor.
    """

    def __init__(
        self, transport: Transport, clip_norm: float, noise_multiplier: float, rng: np.random.Generator
    ) -> None:
        self._transport, self._rng = transport, rng
        self._clip_norm, self._deviation = clip_norm, noise_multiplier * clip_norm
        self._factors: Float32 | None = None  # (b, 1, 1)

    @property
    def traffic(self) -> Traffic:
        """See `Transport.traffic`."""
        return self._transport.traffic

    @property
    def usage(self) -> Usage:
        """See `Transport.usage`."""
        return self._transport.usage

    def forward(self, values: Float32) -> Float32:
        """See `Transport.forward`."""
        norms = np.sqrt(np.square(values, dtype=np.float64).sum((1, 2), keepdims=True))
        self._factors = (self._clip_norm / np.maximum(norms, self._clip_norm)).astype(np.float32)
        noise = self._rng.standard_normal(values.shape, np.float32) * np.float32(self._deviation)
        return self._transport.forward(values * self._factors + noise)

    def backward(self, gradients: Float32) -> Float32:
        """See `Transport.backward`."""
        if self._factors is None:
            raise RuntimeError(NO_FORWARD)
        return self._transport.backward(gradients) * self._factors
