"""A split model whose work is measured by side: the client's, or the server's, which has the body."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Literal, TypeVar

from fedbbpt.backend import BackendOutput
from fedbbpt.split_learning.protocol import Forward, Part, Precision, SplitModel, Splittable
from fedbbpt.types import Inputs

T = TypeVar("T")
Side = Literal["client", "server"]
SIDES: tuple[Side, ...] = ("client", "server")
Meter = Callable[[Side], AbstractContextManager[Any]]  # put around the work of a side


class Instrument:
    """Puts a meter around each part's work, forward and back, and counts what is sent between the sides for it."""

    def __init__(self, meter: Meter, body: Side) -> None:
        self.messages = 0
        self._meter, self._body = meter, body

    def measured(self, part: Part, work: Callable[..., T]) -> Callable[..., T]:
        """The same function, measured as work of this part."""

        def measure(*args: Any) -> T:
            side = self._body if part == "body" else "client"
            self.messages += 2 * (side == "server")  # there and back
            with self._meter(side):
                return work(*args)

        return measure

    def measured_both_ways(self, part: Part, forward: Callable[..., Forward]) -> Callable[..., Forward]:
        """The same forward pass, measured with its backward pass."""

        def measure(*args: Any) -> Forward:
            passed = self.measured(part, forward)(*args)
            return Forward(passed.values, self.measured(part, passed.vjp))

        return measure


class InstrumentedSplit:
    """See `split_learning.protocol.SplitModel`; another one with its passes measured."""

    def __init__(self, split: SplitModel, instrument: Instrument) -> None:
        self.num_prompt_tokens, self.width = split.num_prompt_tokens, split.width
        self.identity, self.sizes = split.identity, split.sizes
        self.init = split.init  # no work of a round
        self.head = instrument.measured_both_ways("head", split.head)
        self.body = instrument.measured_both_ways("body", split.body)
        self.tail = instrument.measured("tail", split.tail)
        self.features = instrument.measured("tail", split.features)
        self.predict = instrument.measured("tail", split.predict)


class InstrumentedBackend(Splittable):
    """A backend whose model is partitioned and measured."""

    sizes: Mapping[Part, int]  # of the parts, once it is cut

    def __init__(self, backend: Splittable, instrument: Instrument) -> None:
        self.info, self._backend, self._instrument = backend.info, backend, instrument

    def query(self, inputs: Inputs) -> BackendOutput:
        """See `Backend.query`."""
        return self._backend.query(inputs)

    def computes_in(self, dtype: Precision) -> Precision:
        """See `Splittable`."""
        return self._backend.computes_in(dtype)

    def partition_model(self, **options: Any) -> InstrumentedSplit:
        """See `Splittable.partition_model`."""
        made = InstrumentedSplit(self._backend.partition_model(**options), self._instrument)
        self.sizes = made.sizes
        return made
