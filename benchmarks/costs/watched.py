"""A split model that tells which side works: the client, or the server, which has the body."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Literal

from fedbbpt.backend import Answers
from fedbbpt.split_learning.protocol import Judged, Part, Passed, Precision, Pulled, Split, Splittable
from fedbbpt.types import Float32, Inputs, Int64, Parameters

Side = Literal["client", "server"]
SIDES: tuple[Side, ...] = ("client", "server")
Meter = Callable[[Side], AbstractContextManager[Any]]  # put around the work of a side


class Watch:
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


class WatchedSplit:
    """See `split_learning.protocol.Split`; another one under a watch."""

    def __init__(self, split: Split, watch: Watch) -> None:
        self.tokens, self.width, self.identity, self.sizes = split.tokens, split.width, split.identity, split.sizes
        self._split, self._watch = split, watch

    def init(self, seed: int) -> Parameters:
        """See `Split.init`; no work of a round."""
        return self._split.init(seed)

    def head(self, parameters: Parameters, inputs: Inputs, trained: frozenset[Part]) -> Passed:
        """See `Split.head`."""
        with self._watch.around("head"):
            return self._back("head", self._split.head(parameters, inputs, trained))

    def body(self, parameters: Parameters, values: Float32, trained: frozenset[Part]) -> Passed:
        """See `Split.body`."""
        with self._watch.around("body"):
            return self._back("body", self._split.body(parameters, values, trained))

    def tail(self, parameters: Parameters, values: Float32, labels: Int64, trained: frozenset[Part]) -> Judged:
        """See `Split.tail`."""
        with self._watch.around("tail"):
            return self._split.tail(parameters, values, labels, trained)

    def features(self, parameters: Parameters, values: Float32) -> Float32:
        """See `Split.features`."""
        with self._watch.around("tail"):
            return self._split.features(parameters, values)

    def predict(self, parameters: Parameters, values: Float32) -> Float32:
        """See `Split.predict`."""
        with self._watch.around("tail"):
            return self._split.predict(parameters, values)

    def _back(self, part: Part, passed: Passed) -> Passed:
        def pull(gradients: Float32) -> Pulled:
            with self._watch.around(part):
                return passed.pull(gradients)

        return Passed(passed.values, pull)


class WatchedBackend(Splittable):
    """A backend whose model is cut under a watch."""

    sizes: Mapping[Part, int]  # of the parts, once it is cut

    def __init__(self, backend: Splittable, watch: Watch) -> None:
        self.info, self._backend, self._watch = backend.info, backend, watch

    def query(self, inputs: Inputs) -> Answers:
        """See `Backend.query`."""
        return self._backend.query(inputs)

    def computes_in(self, dtype: Precision) -> Precision:
        """See `Splittable`."""
        return self._backend.computes_in(dtype)

    def split(self, **how: Any) -> WatchedSplit:
        """See `Splittable.split`."""
        made = WatchedSplit(self._backend.split(**how), self._watch)
        self.sizes = made.sizes
        return made
