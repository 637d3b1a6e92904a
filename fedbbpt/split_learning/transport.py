"""The line between a client and the server inside a round: what crosses a cut travels as bytes, which are counted."""

import math
from collections.abc import Mapping
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from fedbbpt.split_learning.protocol import Forward, Gradients, Part, SplitModel
from fedbbpt.types import Float32, Parameters, Traffic, Usage
from fedbbpt.types.wire import packed, unpacked

ActivationDtype = Literal["float32", "bfloat16", "int8"]
ARRAYS: Mapping[ActivationDtype, Mapping[str, str]] = {  # of a message, with their types in NumPy
    "float32": {"values": "float32"},
    "bfloat16": {"values": "uint16"},
    "int8": {"values": "int8", "scales": "float32"},
}
LONGEST_HEADER = 4096  # bytes; those of `pack` have some 200
PIECE = 8192  # numbers that BLAS multiplies in one thread
NEVER_FORWARD = "gradients came back for values that never went forward"


class Transport(Protocol):
    """The client's end."""

    @property
    def traffic(self) -> Traffic:
        """Bytes so far."""

    @property
    def usage(self) -> Usage:
        """Samples that passed the body forward, and in how many batches."""

    def forward(self, values: Float32) -> Float32:
        """What the body makes of smashed data (b, n, D)."""

    def backward(self, gradients: Float32) -> Float32:
        """From gradients at the last `forward`'s answer (b, n, D) to those at what it was given; once for each."""


class BypassTransport:
    """No body between head and tail, and no server: nothing travels."""

    traffic = Traffic()
    usage = Usage()

    def forward(self, values: Float32) -> Float32:
        """The values themselves."""
        return values

    def backward(self, gradients: Float32) -> Float32:
        """The gradients themselves."""
        return gradients


class BodyRunner:
    """The body, as the server runs it for one client; where it is trained, a copy for this client alone."""

    def __init__(self, split: SplitModel, body: Float32, trained: frozenset[Part], rate: float) -> None:
        self._split, self._trained, self._rate = split, trained, rate
        self._parameters: Parameters = {"body": body}
        self._passed: Forward | None = None

    @property
    def body(self) -> Float32:
        """The body's parameters as they are now."""
        return self._parameters["body"]

    def forward(self, values: Float32) -> Float32:
        """See `Transport`."""
        self._passed = None  # before there is the next one, which is as large
        self._passed = self._split.body(self._parameters, values, self._trained)
        return self._passed.values

    def backward(self, gradients: Float32) -> Float32:
        """See `Transport`; a step of SGD where the body is trained."""
        if self._passed is None:
            raise RuntimeError(NEVER_FORWARD)
        backward, self._passed = self._passed.vjp(gradients), None
        if backward.values is None:
            raise RuntimeError("the body gave no gradients at its input")
        self._parameters = sgd_step(self._parameters, backward.gradients, self._rate)
        return backward.values


class InProcessTransport:
    """Client and server in one process; all the same, only bytes pass between them.

    Without a wire the client holds the body itself, and nothing passes.
    """

    def __init__(self, server: BodyRunner, wire: ActivationDtype | None = "float32") -> None:
        self._server, self._wire = server, wire
        self.traffic, self.usage = Traffic(), Usage()

    def forward(self, values: Float32) -> Float32:
        """See `Transport`."""
        self.usage += Usage(len(values), 1)
        return self._crossing(self._server.forward(self._crossing(values, "up")), "down")

    def backward(self, gradients: Float32) -> Float32:
        """See `Transport`."""
        return self._crossing(self._server.backward(self._crossing(gradients, "up")), "down")

    def _crossing(self, values: Float32, way: Literal["up", "down"]) -> Float32:
        if self._wire is None:
            return values
        message = pack(values, self._wire)
        self.traffic += Traffic(**{way: len(message)})
        return unpack(message)


class ClippedNoisyTransport:
    """A line on which the server sees less: samples of bounded size, and noise over them.

    The activations (n, D) of a sample are shortened to a norm of at most `clip`; then normal noise of deviation
    `noise` · `clip` is added to each number, as in the Gaussian mechanism (Dwork & Roth 2014, appendix A), but without
    a guarantee: nothing is accounted, and gradients go as they are. On the way back, the shortening is a constant.
    """

    def __init__(self, line: Transport, clip: float, noise: float, rng: np.random.Generator) -> None:
        self._line, self._clip, self._noise, self._rng = line, clip, noise, rng
        self._scales: Float32 | None = None

    @property
    def traffic(self) -> Traffic:
        """See `Transport`."""
        return self._line.traffic

    @property
    def usage(self) -> Usage:
        """See `Transport`."""
        return self._line.usage

    def forward(self, values: Float32) -> Float32:
        """See `Transport`."""
        norms = np.sqrt(np.square(values, dtype=np.float64).sum((1, 2), keepdims=True))
        self._scales = (self._clip / np.maximum(norms, self._clip)).astype(np.float32)
        noise = self._rng.standard_normal(values.shape, np.float32) * np.float32(self._noise * self._clip)
        return self._line.forward(values * self._scales + noise)

    def backward(self, gradients: Float32) -> Float32:
        """See `Transport`."""
        if self._scales is None:
            raise RuntimeError(NEVER_FORWARD)
        return self._line.backward(gradients) * self._scales


@np.errstate(over="ignore", invalid="ignore")  # what diverged travels, too
def pack(values: Float32, wire: ActivationDtype = "float32") -> bytes:
    """Values (b, n, D) as safetensors: as they are; rounded to bfloat16; or as int8 with a scale for each token.

    int8 divides each token by its largest magnitude over 127 and rounds to the nearest (ours, not SFPrompt's).
    """
    if wire == "float32":
        return packed({"values": values})
    if wire == "bfloat16":
        return packed({"values": _upper(values)})
    scales = np.abs(values).max(-1, keepdims=True) / np.float32(127)
    steps = np.rint(values / np.where(scales > 0, scales, np.float32(1)))
    return packed({"values": np.nan_to_num(steps).astype(np.int8), "scales": scales})


def unpack(message: bytes) -> Float32:
    """Inverse of `pack`, but for the rounding."""
    arrays, _ = unpacked(message)
    return _values(arrays)


@np.errstate(over="ignore", invalid="ignore")
def _values(arrays: Mapping[str, NDArray[Any]]) -> Float32:
    values: NDArray[Any] = arrays["values"]
    if values.dtype == np.uint16:
        return (values.astype(np.uint32) << 16).view(np.float32)
    if values.dtype == np.int8:
        scaled: Float32 = values.astype(np.float32) * arrays["scales"]
        return scaled
    return values


def unpack_untrusted(message: bytes) -> tuple[Float32, ActivationDtype]:
    """As `unpack`, for a message that may hold anything; also the wire that it was written for.

    Nothing is allocated but for what is there: the header is short, and safetensors compares its sizes with the rest.

    Raises:
        ValueError: it is none that `pack` writes.
    """
    if int.from_bytes(message[:8], "little") > LONGEST_HEADER:
        raise ValueError("it is not in safetensors, or has too long a header")
    arrays, _ = unpacked(message)
    found = {name: array.dtype.name for name, array in arrays.items()}
    wires = [wire for wire, expected in ARRAYS.items() if found == expected]
    if not wires:
        raise ValueError("its arrays are not called and typed as those of float32, bfloat16 or int8")
    shape = arrays["values"].shape
    if len(shape) != 3 or 0 in shape or ("scales" in arrays and arrays["scales"].shape != (*shape[:2], 1)):
        raise ValueError("its arrays are not (samples, tokens, numbers)")
    return _values(arrays), wires[0]


def _upper(values: Float32) -> NDArray[np.uint16]:
    """The upper half of each number, rounded to the nearest, half to even: bfloat16, which NumPy does not know."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    rounded = bits + 0x7FFF + ((bits >> 16) & 1)
    return (np.where(np.isnan(values), bits, rounded) >> 16).astype(np.uint16)


def sgd_step(parameters: Parameters, gradients: Gradients, rate: float) -> Parameters:
    """A step of SGD without momentum on the parts that have a gradient; no part goes further than `rate`.

    Gradients are cut to a norm of 1, as where vision transformers are fine-tuned (Dosovitskiy et al. 2021, arXiv
    2010.11929, appendix B.1.1), but part by part: whoever holds one need not know the others' norms, and the blocks'
    large gradients do not slow the classifier down.
    """
    new = dict(parameters)
    for part, gradient in gradients.items():
        step = gradient * np.float32(-rate / max(1.0, _norm(gradient)))
        step += parameters[part]
        new[part] = step
    return new


def _norm(vector: Float32) -> float:
    """‖·‖₂, summed in pieces: to one thread's bits, and without a copy in float64."""
    return math.sqrt(math.fsum(np.vdot(piece, piece) for piece in np.split(vector, range(PIECE, len(vector), PIECE))))
