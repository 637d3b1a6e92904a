"""The frozen model that may only be queried: the class that backends derive from, and the meter that counts queries."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from fedbbpt.errors import BackendError, ConfigError
from fedbbpt.services.ledger import Account, BilledUsage
from fedbbpt.services.prices import Price
from fedbbpt.services.refusals import RefusalTracker
from fedbbpt.types import Dataset, Float32, Inputs, Size, Usage

Modality = Literal["image", "text"]
Fitted = Mapping[str, NDArray[Any]]  # arrays by name


class Embeddings(NamedTuple):
    """The word embedding space of a model that accepts vectors in place of words (a soft prompt)."""

    width: int  # D
    std: float  # over all entries of the model's embedding matrix


@dataclass(frozen=True)
class BackendInfo:
    """What users of a backend may know about it."""

    model: str  # the name of the model that answers
    input_size: Size  # (height, width) of images; None for texts
    classes: tuple[str, ...]  # the names of the C scores
    scores: Literal["logits", "log-probabilities", "probabilities"]
    max_batch: int  # inputs per call of `Backend.query`
    embeddings: Embeddings | None = None  # set if the model accepts vectors in place of words
    resolved: Mapping[str, Any] = field(default_factory=dict)  # options set to "auto", as the backend resolved them
    max_inputs_per_request: int | None = None  # divides max_batch; None: one call of `query` is one request

    @property
    def inputs_per_request(self) -> int:
        """The number of inputs in a full request."""
        return self.max_inputs_per_request or self.max_batch


def check_scores(info: BackendInfo) -> None:
    """Raises ConfigError if the model outputs features but no class scores; only split learning can use those."""
    if not info.classes:
        raise ConfigError(
            f"{info.model} answers with features, not classes, and the task's provider has no examples to fit a head "
            "to; give one with -o backend.classifier=NAME or PATH.safetensors"
        )


class BackendOutput(NamedTuple):
    """The answer to one call of `Backend.query`."""

    scores: Float32  # (b, C); a failed query is a row of NaN, never missing
    tokens: int = 0  # input and output tokens, if the model counts them
    unparsed: int = 0  # answers in words that name no class (`fedbbpt_backends.answer_parsing`)
    output_tokens: int = 0  # included in `tokens`


class BilledClient(Protocol):
    """The client of a service as a run sees it; `fedbbpt.services.client.ServiceClient` is one."""

    price: Price | None  # None: unknown
    query_index: int  # number of the next query in the run
    refusals: RefusalTracker
    anew: bool  # whether the service is asked even where its answer is known

    def bill_to(self, account: Account) -> None:
        """Bills a run from now on, whose first query comes next."""

    def billed(self) -> BilledUsage:
        """What the run was billed for."""

    def estimate_tokens(self, inputs: Inputs) -> tuple[float, float]:
        """Mean input and output tokens of one of these inputs, estimated."""


OnQueries = Callable[[int], None]  # called with a number of queries once they are answered
FeatureExtractor = Callable[[Inputs], BackendOutput]  # as `Backend.query`, with features (b, D) in place of the scores


class Backend(ABC):
    """A frozen model that may only be queried: inputs in, scores out.

    A subclass takes the task's `Provider` as its only positional argument and its options by keyword. The types of the
    options are checked, and their defaults are written into the run's config. The same inputs in the same call must
    give the same bits. Everything beyond `modalities`, `info` and `query` is optional and has a default here; a model
    that can be partitioned derives from `fedbbpt.split_learning.protocol.Splittable`.

    Register a subclass as an entry point in the group `fedbbpt.backends` (see `examples/own_backend.py`).
    """

    modalities: ClassVar[tuple[Modality, ...]]  # the inputs it accepts
    private_options: ClassVar[tuple[str, ...]] = ()  # about its owner's machine, keys or addresses: kept from others
    extra: ClassVar[str | None] = None  # of fedbbpt's optional dependencies, that has to be installed, if any
    info: BackendInfo
    feature_extractor: FeatureExtractor | None = None  # None: the model gives no features
    label_words: tuple[str, ...] | None = None  # a word for each class, if the scores are those of words
    service_client: BilledClient | None = None  # if queries are requests to a service, which may charge for them

    @abstractmethod
    def query(self, inputs: Inputs) -> BackendOutput:
        """Scores images (b, 3, h, w), float32 in [0, 1], or texts (b,), with b ≤ info.max_batch."""

    @property
    def setup_usage(self) -> Usage:
        """What `set_up` asks, at most; once it has asked, exactly."""
        return Usage()

    @property
    def adaptive_setup(self) -> bool:
        """Whether what `set_up` asks depends on the answers."""
        return False

    def set_up(self) -> None:  # noqa: B027 - by default there is nothing to ask
        """Asks what has to be known before the first query, and completes `info`."""

    @staticmethod
    def uses_verbalizer(options: Mapping[str, Any]) -> bool:
        """Whether a language model scores the words of the classes, so that instructions can be tuned.

        Called with all options filled in, before the model is loaded.
        """
        return False

    @staticmethod
    def sketch(provider: "Provider", options: Mapping[str, Any]) -> BackendInfo | None:
        """Returns `info` without loading the model, for a dry run on a machine that lacks it; None if unknown."""
        return None


@dataclass(frozen=True)
class Provider:
    """What the model's owner knows about a task; it never includes the clients' data.

    A run's folder stores what the backend uses from here, so that `predict` needs none of the task's data: the shots,
    or what `fit` computed from them.
    """

    classes: tuple[str, ...]
    head: str | None = None  # the name of a head that the provider has ready
    shots: Callable[[Size], Dataset] | None = None  # the provider's own labelled examples, for an input size
    question: str = "Category"  # what a class answers, as a noun, for language models
    label_words: tuple[str, ...] | None = None  # one per class, for language models; None: the classes' names

    def fit(self, make: Callable[[], Fitted]) -> Fitted:
        """Returns `make()`, computed from the shots, or, in a resumed run, the arrays that it returned at the start."""
        return make()


def usage(queries: int, info: BackendInfo) -> Usage:
    """The usage of this many queries, sent in full requests."""
    return Usage(queries, -(-queries // info.inputs_per_request))


class Meter(Backend):
    """Wraps a backend, counts its queries, and checks that its scores have the promised shape and dtype.

    `on_queries` is called after each request.

    Raises:
        BackendError: the scores have another shape than (b, C), or another dtype than float32.
    """

    def __init__(self, backend: Backend, on_queries: OnQueries | None = None) -> None:
        self.info, self._on_queries = backend.info, on_queries
        self.usage = Usage()
        self._backend = backend

    def query(self, inputs: Inputs) -> BackendOutput:
        """See `Backend.query`."""
        self.usage += usage(len(inputs), self.info)
        output = self._backend.query(inputs)
        expected = (len(inputs), len(self.info.classes))
        if output.scores.shape != expected or output.scores.dtype != np.float32:
            got = f"{output.scores.shape} {output.scores.dtype}"
            raise BackendError(f"the backend answered with scores {got}; its info promises {expected} float32")
        unanswered = int(np.isnan(output.scores).any(1).sum())
        self.usage += Usage(0, 0, output.tokens, output.unparsed, output.output_tokens, unanswered)
        if self._on_queries is not None:
            self._on_queries(len(inputs))
        return output
