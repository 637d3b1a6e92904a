"""Metrics of a running server, for Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import choose_encoder

from fedbbpt.backend import BackendOutput

BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048)  # upper bounds of the histogram's buckets


class ServerMetrics:
    """Counts requests by route and status, and the model's queries, tokens and time."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self.in_flight = Gauge("fedbbpt_requests_in_flight", "Requests without a response yet.", registry=registry)
        self._requests = Counter("fedbbpt_requests", "Responses.", ("route", "status"), registry=registry)
        self._queries = Counter("fedbbpt_queries", "Inputs that the model answered.", registry=registry)
        self._tokens = Counter("fedbbpt_tokens", "Tokens that the model read and wrote.", registry=registry)
        self._unparsed = Counter("fedbbpt_unparsed", "Answers in words that name no class.", registry=registry)
        self._seconds = Counter("fedbbpt_model_seconds", "Seconds that the model computed.", registry=registry)
        self._sizes = Histogram("fedbbpt_batch_size", "Inputs per batch.", buckets=BATCH_SIZES, registry=registry)

    def count_response(self, route: str, status: int) -> None:
        """Counts a response."""
        self._requests.labels(route, status).inc()

    def count_batch(self, size: int, seconds: float, output: BackendOutput) -> None:
        """Counts a batch of `size` inputs that the model answered in `seconds`."""
        self._sizes.observe(size)
        self._queries.inc(size)
        self._tokens.inc(output.tokens)
        self._unparsed.inc(output.unparsed)
        self._seconds.inc(seconds)

    def render(self, accept: str) -> tuple[bytes, str]:
        """All metrics in the format that an HTTP Accept header asks for, and their content type."""
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type
