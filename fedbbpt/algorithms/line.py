"""The line between a client and the server inside a round: what crosses a cut travels as bytes, which are counted."""

from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from fedbbpt.split import Gradients, Part, Passed, Split
from fedbbpt.types import Crossed, Float32, Parameters, Usage, packed, unpacked

Wire = Literal["float32", "bfloat16", "int8"]


class Line(Protocol):
    """The client's end. A network takes the place of `InProcess` by sending what `pack` makes of the values."""

    crossed: Crossed  # bytes so far
    usage: Usage  # samples that passed the body forward, and in how many batches

    def forward(self, values: Float32) -> Float32:
        """What the body makes of smashed data (b, n, D)."""

    def backward(self, gradients: Float32) -> Float32:
        """From gradients at the last `forward`'s answer (b, n, D) to those at what it was given; once for each."""


class Shortcut:
    """No body between head and tail, and no server: nothing travels."""

    crossed = Crossed()
    usage = Usage()

    def forward(self, values: Float32) -> Float32:
        """The values themselves."""
        return values

    def backward(self, gradients: Float32) -> Float32:
        """The gradients themselves."""
        return gradients


class Server:
    """The body, as the server runs it for one client; where it is trained, a copy for this client alone."""

    def __init__(self, split: Split, body: Float32, trained: frozenset[Part], rate: float) -> None:
        self._split, self._trained, self._rate = split, trained, rate
        self._parameters: Parameters = {"body": body}
        self._passed: Passed | None = None

    @property
    def body(self) -> Float32:
        """The body's parameters as they are now."""
        return self._parameters["body"]

    def forward(self, values: Float32) -> Float32:
        """See `Line`."""
        self._passed = self._split.body(self._parameters, values, self._trained)
        return self._passed.values

    def backward(self, gradients: Float32) -> Float32:
        """See `Line`; a step of SGD where the body is trained."""
        if self._passed is None:
            raise RuntimeError("gradients came back for values that never went forward")
        pulled, self._passed = self._passed.pull(gradients), None
        if pulled.values is None:
            raise RuntimeError("the body gave no gradients at its input")
        self._parameters = descend(self._parameters, pulled.gradients, self._rate)
        return pulled.values


class InProcess:
    """Client and server in one process; all the same, only bytes pass between them."""

    def __init__(self, server: Server, wire: Wire = "float32") -> None:
        self._server, self._wire = server, wire
        self.crossed, self.usage = Crossed(), Usage()

    def forward(self, values: Float32) -> Float32:
        """See `Line`."""
        self.usage += Usage(len(values), 1)
        return self._down(self._server.forward(self._up(values)))

    def backward(self, gradients: Float32) -> Float32:
        """See `Line`."""
        return self._down(self._server.backward(self._up(gradients)))

    def _up(self, values: Float32) -> Float32:
        message = pack(values, self._wire)
        self.crossed = self.crossed._replace(up=self.crossed.up + len(message))
        return unpack(message)

    def _down(self, values: Float32) -> Float32:
        message = pack(values, self._wire)
        self.crossed = self.crossed._replace(down=self.crossed.down + len(message))
        return unpack(message)


def pack(values: Float32, wire: Wire = "float32") -> bytes:
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
    values: NDArray[Any] = arrays["values"]
    if values.dtype == np.uint16:
        return (values.astype(np.uint32) << 16).view(np.float32)
    if values.dtype == np.int8:
        scaled: Float32 = values.astype(np.float32) * arrays["scales"]
        return scaled
    return values


def _upper(values: Float32) -> NDArray[np.uint16]:
    """The upper half of each number, rounded to the nearest, half to even: bfloat16, which NumPy does not know."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    rounded = bits + 0x7FFF + ((bits >> 16) & 1)
    return (np.where(np.isnan(values), bits, rounded) >> 16).astype(np.uint16)


def descend(parameters: Parameters, gradients: Gradients, rate: float) -> Parameters:
    """A step of plain SGD on the parts that have a gradient, without momentum."""
    new = dict(parameters)
    for part, gradient in gradients.items():
        new[part] = (parameters[part] - np.float32(rate) * gradient).astype(np.float32)
    return new
