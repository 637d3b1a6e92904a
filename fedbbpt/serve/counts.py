"""What is counted while serving, as Prometheus reads it."""

from collections import Counter
from collections.abc import Iterator

from fedbbpt.backend import Answers

SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048)  # upper bounds of the histogram of batch sizes


class Counts:
    """Requests by route and status, and what was asked of the model. Each number is written by one thread only."""

    def __init__(self) -> None:
        self.in_flight = 0  # requests
        self._requests: Counter[tuple[str, int]] = Counter()
        self._sizes: Counter[int] = Counter()  # by upper bound; 0 stands for above all
        self._totals = {"queries": 0, "tokens": 0, "unmatched": 0, "model_seconds": 0.0}

    def replied(self, route: str, status: int) -> None:
        """A request got its reply."""
        self._requests[route, status] += 1

    def called(self, size: int, seconds: float, answers: Answers) -> None:
        """The model answered a call."""
        self._sizes[next((bound for bound in SIZES if size <= bound), 0)] += 1
        taken = {"queries": size, "tokens": answers.tokens, "unmatched": answers.unmatched, "model_seconds": seconds}
        for name, amount in taken.items():
            self._totals[name] += amount

    def text(self) -> str:
        """All of it, in Prometheus' text format 0.0.4."""
        return "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        yield "# TYPE fedbbpt_requests_in_flight gauge"
        yield f"fedbbpt_requests_in_flight {self.in_flight}"
        yield "# TYPE fedbbpt_requests_total counter"
        for (route, status), count in sorted(self._requests.items()):
            yield f'fedbbpt_requests_total{{route="{route}",status="{status}"}} {count}'
        for name, total in self._totals.items():
            yield f"# TYPE fedbbpt_{name}_total counter"
            yield f"fedbbpt_{name}_total {total}"
        yield "# TYPE fedbbpt_batch_size histogram"
        sizes = self._sizes.copy()
        below = 0
        for bound in SIZES:
            below += sizes[bound]
            yield f'fedbbpt_batch_size_bucket{{le="{bound}"}} {below}'
        yield f'fedbbpt_batch_size_bucket{{le="+Inf"}} {sizes.total()}'
        yield f"fedbbpt_batch_size_sum {self._totals['queries']}"
        yield f"fedbbpt_batch_size_count {sizes.total()}"
