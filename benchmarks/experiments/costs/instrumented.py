"""A split model that tells which side works: the client, or the server, which has the body."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Literal

from fedbbpt.backend import BackendOutput
from fedbbpt.split_learning.protocol import Backward, Forward, LossOutput, Part, Precision, SplitModel, Splittable
from fedbbpt.types import Float32, Inputs, Int64, Parameters

Side = Literal["client", "server"]
SIDES: tuple[Side, ...] = ("client", "server")
Meter = Callable[[Side], AbstractContextManager[Any]]  # put around the work of a side


class Instrument:
    """Puts a meter around each part's way forward and back, and counts what is sent between the sides for it."""

    def __init__(self, meter: Meter, body: Side) -> None:
        self.messages = 0
        self._meter, self._body = meter, body

    @contextmanager
    def around(self, part: Part) -> Iterator[None]:
        """While a part works."""
        side = self._body if part == "body" else "client"
        self.messages += 2 * (side == "server")  # there and back
        with self._meter(side):
            yield


class InstrumentedSplit:
    """See `split_learning.protocol.SplitModel`; another one under a watch."""

    def __init__(self, split: SplitModel, watch: Instrument) -> None:
        self.num_prompt_tokens, self.width = split.num_prompt_tokens, split.width
        self.identity, self.sizes = split.identity, split.sizes
        self._split, self._watch = split, watch

    def init(self, seed: int) -> Parameters:
        """See `SplitModel.init`; no work of a round."""
        return self._split.init(seed)

    def head(self, parameters: Parameters, inputs: Inputs, trained: frozenset[Part]) -> Forward:
        """See `SplitModel.head`."""
        with self._watch.around("head"):
            return self._back("head", self._split.head(parameters, inputs, trained))

    def body(self, parameters: Parameters, values: Float32, trained: frozenset[Part]) -> Forward:
        """See `SplitModel.body`."""
        with self._watch.around("body"):
            return self._back("body", self._split.body(parameters, values, trained))

    def tail(self, parameters: Parameters, values: Float32, labels: Int64, trained: frozenset[Part]) -> LossOutput:
        """See `SplitModel.tail`."""
        with self._watch.around("tail"):
            return self._split.tail(parameters, values, labels, trained)

    def features(self, parameters: Parameters, values: Float32) -> Float32:
        """See `SplitModel.features`."""
        with self._watch.around("tail"):
            return self._split.features(parameters, values)

    def predict(self, parameters: Parameters, values: Float32) -> Float32:
        """See `SplitModel.predict`."""
        with self._watch.around("tail"):
            return self._split.predict(parameters, values)

    def _back(self, part: Part, passed: Forward) -> Forward:
        def vjp(gradients: Float32) -> Backward:
            with self._watch.around(part):
                return passed.vjp(gradients)

        return Forward(passed.values, vjp)


class InstrumentedBackend(Splittable):
    """A backend whose model is cut under a watch."""

    sizes: Mapping[Part, int]  # of the parts, once it is cut

    def __init__(self, backend: Splittable, watch: Instrument) -> None:
        self.info, self._backend, self._watch = backend.info, backend, watch

    def query(self, inputs: Inputs) -> BackendOutput:
        """See `Backend.query`."""
        return self._backend.query(inputs)

    def computes_in(self, dtype: Precision) -> Precision:
        """See `Splittable`."""
        return self._backend.computes_in(dtype)

    def partition_model(self, **how: Any) -> InstrumentedSplit:
        """See `Splittable.partition_model`."""
        made = InstrumentedSplit(self._backend.partition_model(**how), self._watch)
        self.sizes = made.sizes
        return made
