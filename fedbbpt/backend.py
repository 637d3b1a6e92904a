"""The frozen model that may only be queried: the class that backends derive from, and the meter that counts queries."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedbbpt.errors import BackendError, ConfigError
from fedbbpt.types import Dataset, Float32, Inputs, Size, Usage

Modality = Literal["image", "text"]
Fitted = Mapping[str, NDArray[Any]]  # arrays by name


class Embeddings(NamedTuple):
    """The space of word embeddings of a model that reads vectors in their place (`Prompted.prefix`)."""

    width: int  # D
    std: float  # of all entries of the model's own embeddings


@dataclass(frozen=True)
class BackendInfo:
    """What a user of a backend may know of it."""

    model: str  # which model answers
    input_size: Size
    classes: tuple[str, ...]  # the names of the C scores
    scores: Literal["logits", "log-probabilities", "probabilities"]
    batch_limit: int  # most inputs of one `query`
    embeddings: Embeddings | None = None  # where the model reads vectors in the place of words
    resolved: Mapping[str, Any] = field(default_factory=dict)  # options left to the backend ("auto"), as it chose them
    request_limit: int | None = None  # most queries of a request, where one `query` sends several; divides batch_limit

    @property
    def call_limit(self) -> int:
        """Most queries in one call."""
        return self.request_limit or self.batch_limit


def check_scores(info: BackendInfo) -> None:
    """Raises ConfigError if the model answers with features alone, which can only be cut (`fedbbpt.split_learning`)."""
    if not info.classes:
        raise ConfigError(
            f"{info.model} answers with features, not classes, and the task's provider has no examples to fit a head "
            "to; give one with -o backend.head=PATH.safetensors"
        )


class Answers(NamedTuple):
    """What a backend says to one call."""

    scores: Float32  # (b, C); a failed query is a row of NaN, never a dropped one
    tokens: int = 0  # input and output, where the model counts them
    unparsed: int = 0  # answers in words that name no class (`fedbbpt_backends.answer_parsing`)
    output_tokens: int = 0  # of them


FeatureExtractor = Callable[[Inputs], Answers]  # as `Backend.query`, with features (b, D) in place of the scores


class Backend(ABC):
    """A frozen model that may only be queried: inputs in, scores out.

    A subclass takes the task's `Provider` as its one positional argument and its options by keyword; their types are
    checked, and their defaults are written into the run's config. It is registered as an entry point of the group
    `fedbbpt.backends`. The same inputs in the same call must give the same bits. All that a backend may offer beyond
    `info` and `query` has a default here; a model that can be cut derives from
    `fedbbpt.split_learning.protocol.Splittable`.
    """

    modalities: ClassVar[tuple[Modality, ...]]  # what it can read
    info: BackendInfo
    feature_extractor: FeatureExtractor | None = None  # None: the model has no features to give
    label_words: tuple[str, ...] | None = None  # a word for each class, where the scores are those of words

    @abstractmethod
    def query(self, inputs: Inputs) -> Answers:
        """Scores of images (b, 3, h, w), float32 in [0, 1], or of texts (b,); b ≤ info.batch_limit."""

    @staticmethod
    def uses_verbalizer(options: Mapping[str, Any]) -> bool:
        """Whether, with these options, a language model is asked for the classes in words: then instructions are tuned.

        It is asked before the model is opened, with all options filled in.
        """
        return False

    @staticmethod
    def sketch(provider: "Provider", options: Mapping[str, Any]) -> BackendInfo | None:
        """What `info` will say, for a dry run that would have to fetch the model; None: it must be opened."""
        return None


@dataclass(frozen=True)
class Provider:
    """What the owner of the model may see of a task: never the clients' data.

    `head` names a head that the provider has ready; `shots(size)` gives the provider's own labelled examples.
    `question` is what a class answers, as a noun ("topic"), and `words` a word or a few for each class, for models that
    read and write language.

    A run's folder keeps what the backend takes from here, so that `predict` needs none of the task's data: the shots,
    or in their place what `fit` made of them.
    """

    classes: tuple[str, ...]
    head: str | None = None
    shots: Callable[[Size], Dataset] | None = None
    question: str = "Category"
    words: tuple[str, ...] | None = None  # None: the classes' names

    def fit(self, make: Callable[[], Fitted]) -> Fitted:
        """What a backend makes of the shots: `make()`, or the arrays that it gave when the run began."""
        return make()


def usage(queries: int, info: BackendInfo) -> Usage:
    """The usage of so many queries in full requests."""
    return Usage(queries, -(-queries // info.call_limit))


class Meter(Backend):
    """A backend that counts what passes through it and checks that the answers are what `info` promises.

    Raises:
        BackendError: the answers have the wrong shape or type.
    """

    def __init__(self, backend: Backend) -> None:
        self.info = backend.info
        self.usage = Usage()
        self._backend = backend

    def query(self, inputs: Inputs) -> Answers:
        """See `Backend.query`."""
        self.usage += usage(len(inputs), self.info)
        answers = self._backend.query(inputs)
        expected = (len(inputs), len(self.info.classes))
        if answers.scores.shape != expected or answers.scores.dtype != np.float32:
            got = f"{answers.scores.shape} {answers.scores.dtype}"
            raise BackendError(f"the backend answered with scores {got}; its info promises {expected} float32")
        unanswered = int(np.isnan(answers.scores).any(1).sum())
        self.usage += Usage(0, 0, answers.tokens, answers.unparsed, answers.output_tokens, unanswered)
        return answers
