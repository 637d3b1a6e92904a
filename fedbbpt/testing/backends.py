"""The contract of backends: inputs in, a row of scores for each, the same bits whenever the same is asked.

    def test_my_backend():
        check_backend(MyBackend, temperature=0.5)

A service is really asked, some fifty times an input or two: give its class a local server.
"""

from typing import Any

import numpy as np

from fedbbpt.backend import Backend, BackendInfo, BackendOutput, Provider, check_scores
from fedbbpt.config.components import option_fields
from fedbbpt.data.texts import as_texts
from fedbbpt.testing.expect import expect
from fedbbpt.testing.queries import close, equal, queried, toy_provider
from fedbbpt.types import Prompted, Usage


def check_backend(kind: type[Backend], provider: Provider | None = None, /, **options: Any) -> None:
    """Checks all promises of `Backend`. Opens it twice.

    Args:
        kind: the class.
        provider: what the model's owner knows; None: `toy_provider()`.
        options: those of its options that are not to have their defaults.

    Raises:
        ContractError: a promise is broken; says which.
    """
    expect(Backend in kind.__mro__, "the class derives from Backend")
    expect(set(kind.modalities) <= {"image", "text"} and bool(kind.modalities), "modalities: image, text, or both")
    provider = provider or toy_provider()
    backend = open_backend(kind, provider, **options)
    for check in BACKEND_CHECKS:
        check(backend)
    check_opening(backend, open_backend(kind, provider, **options))
    check_sketch(backend, provider, **options)


def open_backend(kind: type[Backend], provider: Provider, **options: Any) -> Backend:
    """Builds a backend, and lets it ask what it has to know before the first query."""
    built: Any = kind
    backend: Backend = built(provider, **options)
    expect(isinstance(backend.setup_usage, Usage), "setup_usage is a Usage")
    backend.set_up()
    return backend


def check_info(backend: Backend) -> None:
    """`info` names the scores, what they are, and what one query may hold."""
    info = backend.info
    expect(isinstance(info, BackendInfo) and bool(info.model), "info is a BackendInfo that names the model")
    check_scores(info)
    expect(len(set(info.classes)) == len(info.classes), "the classes have different names")
    expect(info.scores in ("logits", "log-probabilities", "probabilities"), "info says of what kind the scores are")
    expect(info.max_batch >= 1, "max_batch is at least 1")
    expect(info.max_batch % (info.max_inputs_per_request or 1) == 0, "max_inputs_per_request divides max_batch")
    wanted = "image" if info.input_size else "text"
    expect(wanted in backend.modalities, "input_size is that of images, and None exactly for texts")
    expect(info.embeddings is None or wanted == "text", "embeddings are those of words")
    words = backend.label_words
    expect(words is None or len(words) == len(info.classes), "label_words holds one word per class, or is None")


def check_answers(backend: Backend) -> None:
    """A query of up to max_batch inputs gives float32 scores (b, C); a failed one is a whole row of NaN."""
    for count in sorted({1, min(2, backend.info.max_batch), len(queried(backend))}):
        output = backend.query(queried(backend, count))
        expect(isinstance(output, BackendOutput), "query gives a BackendOutput")
        scores = output.scores
        expect(scores.shape == (count, len(backend.info.classes)), "scores are of shape (b, C)")
        expect(scores.dtype == np.float32, "scores are float32")
        missing = np.isnan(scores)
        expect(bool((missing.any(1) == missing.all(1)).all()), "a failed query is a whole row of NaN")
        counts = (output.tokens, output.output_tokens, output.unparsed)
        expect(min(counts) >= 0 and output.output_tokens <= output.tokens, "tokens and unparsed answers are counts")
        _check_kind(backend.info, scores[~missing.any(1)].astype(np.float64))


def check_repetition(backend: Backend) -> None:
    """The same inputs give the same bits; inputs and earlier scores stay as they were."""
    inputs = queried(backend)
    kept, first = inputs.copy(), backend.query(inputs).scores
    copied = first.copy()
    again = backend.query(inputs).scores
    expect(equal(copied, again), "the same inputs in the same call give the same bits")
    expect(equal(copied, first), "scores, once handed out, stay as they were")
    expect(np.array_equal(inputs, kept), "inputs stay as they were")


def check_independence(backend: Backend) -> None:
    """Each input is answered by itself, in its place."""
    inputs = queried(backend)
    together = backend.query(inputs).scores
    singles = np.concatenate([backend.query(inputs[i : i + 1]).scores for i in range(len(inputs))])
    expect(close(together, singles), "an input's scores do not depend on the others of its query")
    expect(close(backend.query(inputs[::-1].copy()).scores[::-1], together), "scores are in the order of the inputs")


def check_texts(backend: Backend) -> None:
    """A text is read with its prompt; an empty prompt changes nothing."""
    if backend.info.input_size is None:
        texts = queried(backend)
        bare = backend.query(as_texts([Prompted(text) for text in texts])).scores
        expect(close(bare, backend.query(texts).scores), "an empty prompt changes nothing")
        prompted = as_texts([Prompted(text, "Look: ", " ...", examples=(("sky", "blue"),)) for text in texts])
        expect(backend.query(prompted).scores.shape == bare.shape, "prefix, suffix and examples are read")


def check_features(backend: Backend) -> None:
    """If the model gives features, they are float32 (b, D)."""
    if backend.feature_extractor is not None:
        inputs = queried(backend)
        features = backend.feature_extractor(inputs).scores
        expect(features.ndim == 2 and len(features) == len(inputs), "features are of shape (b, D)")
        expect(features.dtype == np.float32, "features are float32")


def check_opening(backend: Backend, other: Backend) -> None:
    """Opened again from the same provider and options, it says and answers the same."""
    expect(backend.info == other.info, "opened again, it has the same info")
    inputs = queried(backend)
    same = equal(backend.query(inputs).scores, other.query(inputs).scores)
    expect(same, "opened again, it gives the same bits")


def check_sketch(backend: Backend, provider: Provider, **options: Any) -> None:
    """What is known before the model is loaded is what it then turns out to be."""
    defaults = {name: default for name, (_, default) in option_fields(type(backend)).items()}
    sketch, info = backend.sketch(provider, defaults | options), backend.info
    if sketch is not None:
        told, true = ((one.input_size, one.classes, one.scores) for one in (sketch, info))
        expect(told == true, f"the sketch says what info says: {told}, {true}")


def _check_kind(info: BackendInfo, scores: np.ndarray[Any, Any]) -> None:
    if info.scores == "probabilities":
        expect(bool((scores >= 0).all() and (scores.sum(1) <= 1 + 1e-3).all()), "probabilities are such")
    elif info.scores == "log-probabilities":
        expect(bool((np.exp(scores).sum(1) <= 1 + 1e-3).all()), "log-probabilities are logarithms of such")
    else:
        expect(bool(np.isfinite(scores).all()), "logits are finite")


BACKEND_CHECKS = (check_info, check_answers, check_repetition, check_independence, check_texts, check_features)
