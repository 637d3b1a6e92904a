"""What is counted while serving, for Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import choose_encoder

from fedbbpt.backend import Answers

SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048)  # upper bounds of the histogram of batch sizes


class Counts:
    """Requests by route and status, and what was asked of the model."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self.in_flight = Gauge("fedbbpt_requests_in_flight", "Requests without a reply so far.", registry=registry)
        self._requests = Counter("fedbbpt_requests", "Replies.", ("route", "status"), registry=registry)
        self._queries = Counter("fedbbpt_queries", "Inputs that the model was asked about.", registry=registry)
        self._tokens = Counter("fedbbpt_tokens", "Tokens that the model read and wrote.", registry=registry)
        self._unparsed = Counter("fedbbpt_unparsed", "Answers in words that name no class.", registry=registry)
        self._seconds = Counter("fedbbpt_model_seconds", "Seconds in which the model computed.", registry=registry)
        self._sizes = Histogram("fedbbpt_batch_size", "Inputs of a call.", buckets=SIZES, registry=registry)

    def replied(self, route: str, status: int) -> None:
        """A request got its reply."""
        self._requests.labels(route, status).inc()

    def called(self, size: int, seconds: float, answers: Answers) -> None:
        """The model answered a call."""
        self._sizes.observe(size)
        self._queries.inc(size)
        self._tokens.inc(answers.tokens)
        self._unparsed.inc(answers.unparsed)
        self._seconds.inc(seconds)

    def shown(self, accept: str) -> tuple[bytes, str]:
        """All of it, in the format that is asked for as HTTP's Accept, and the type of that."""
        encode, kind = choose_encoder(accept)
        return encode(self._registry), kind
