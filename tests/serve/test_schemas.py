"""Requests are parsed and responses formatted as documented; no network."""

import base64
import json
from typing import Any

import numpy as np
import pytest
from scipy.special import log_softmax

from fedbbpt.backend import BackendOutput, Provider
from fedbbpt.serve import MAX_INPUTS, HttpError, RequestLimits
from fedbbpt.serve.chat import ChatRequest
from fedbbpt.serve.classify import ClassifyRequest
from fedbbpt.serve.completions import CompletionRequest
from fedbbpt.serve.embeddings import EmbeddingRequest
from fedbbpt.serve.model import ServedModel
from fedbbpt.serve.schemas import ZERO_PROBABILITY, parse_request
from fedbbpt.types import Prompted

PROVIDER = Provider(("ham", "spam", "other"), label_words=("fine", "bad", "odd"))
NAN = np.full(3, np.nan)


def _respond(model: ServedModel, schema: Any, body: dict[str, Any], scores: Any) -> Any:
    request = parse_request(schema, json.dumps(body).encode())
    answers = BackendOutput(np.asarray(scores, np.float32), tokens=9, output_tokens=2)
    return json.loads(request.respond(model, answers).model_dump_json())


@pytest.fixture
def model(texts: Any) -> ServedModel:
    return ServedModel(texts, PROVIDER)


def test_scores_come_back_bit_for_bit(model: ServedModel) -> None:
    rng = np.random.default_rng(1)
    bits = rng.integers(0, 2**32, 30_000, dtype=np.uint32).view(np.float32).reshape(-1, 3)
    scores = bits[np.isfinite(bits).all(1)]
    response = _respond(model, ClassifyRequest, {"inputs": ["a"]}, scores)
    assert np.asarray(response["scores"], np.float32).tobytes() == scores.tobytes()
    assert response["score_type"] == "logits"
    assert response["classes"] == ["ham", "spam", "other"]


def test_nan_is_null_and_infinity_the_largest_number(model: ServedModel) -> None:
    response = _respond(model, ClassifyRequest, {"inputs": ["a", "b", "c"]}, [[1, 2, 3], NAN, [0, -np.inf, 1]])
    assert response["scores"][1] is None
    assert response["scores"][2] == [0, float(np.finfo(np.float32).min), 1]
    assert response["usage"] == {"queries": 3, "tokens": 9, "output_tokens": 2}


def test_logits_become_log_probabilities(model: ServedModel) -> None:
    scores = np.float32([[1.5, 3.25, -2.0]])
    (choice,) = _respond(model, CompletionRequest, {"prompt": "a", "logprobs": 2}, scores)["choices"]
    expected = log_softmax(scores.astype(np.float64), axis=1)[0].astype(np.float32)
    assert choice["text"] == " bad"
    assert choice["finish_reason"] == "stop"
    assert choice["logprobs"]["tokens"] == [" bad"]
    assert list(choice["logprobs"]["top_logprobs"][0]) == [" bad", " fine"]
    assert np.float32(choice["logprobs"]["top_logprobs"][0][" fine"]) == expected[0]
    assert np.float32(choice["logprobs"]["token_logprobs"][0]) == expected[1]


@pytest.mark.parametrize("kind", ["log-probabilities", "verbalizer"])
def test_log_probabilities_keep_their_bits(make_texts: Any, kind: str) -> None:
    texts = make_texts(scores="logits" if kind == "verbalizer" else kind)
    if kind == "verbalizer":
        texts.label_words = ("uno", "due", "tre")
    scores = np.float32([[-1.1, -0.3, -7.7]])
    model = ServedModel(texts, PROVIDER)
    (choice,) = _respond(model, CompletionRequest, {"prompt": "a", "logprobs": 20}, scores)["choices"]
    top = choice["logprobs"]["top_logprobs"][0]
    assert np.float32([*top.values()]).tobytes() == np.sort(scores[0])[::-1].tobytes()
    assert list(top) == ([" due", " uno", " tre"] if kind == "verbalizer" else [" bad", " fine", " odd"])


def test_a_probability_of_zero_is_a_finite_logprob(make_texts: Any) -> None:
    model = ServedModel(make_texts(scores="probabilities"), PROVIDER)
    (choice,) = _respond(model, CompletionRequest, {"prompt": "a", "logprobs": 3}, [[0, 0.25, 0.75]])["choices"]
    assert choice["logprobs"]["top_logprobs"][0] == {
        " odd": pytest.approx(np.log(0.75)),
        " bad": pytest.approx(np.log(0.25)),
        " fine": ZERO_PROBABILITY,
    }


def test_of_classes_with_the_same_words_the_likelier_counts(texts: Any) -> None:
    model = ServedModel(texts, Provider(PROVIDER.classes, label_words=("yes", "no", "yes")))
    (choice,) = _respond(model, CompletionRequest, {"prompt": "a", "logprobs": 3}, [[0.0, 1.0, 2.0]])["choices"]
    assert choice["logprobs"]["top_logprobs"][0][" yes"] == choice["logprobs"]["token_logprobs"][0]


def test_label_words_default_to_the_class_names(texts: Any) -> None:
    assert ServedModel(texts, Provider(("a", "b"), label_words=("x", "y"))).label_words == ("ham", "spam", "other")


def test_an_unanswered_query_has_finish_reason_content_filter(model: ServedModel) -> None:
    response = _respond(model, CompletionRequest, {"prompt": ["a", "b"], "logprobs": 3}, [NAN, [1, 0, 0]])
    lost, good = response["choices"]
    assert (lost["text"], lost["logprobs"], lost["finish_reason"]) == ("", None, "content_filter")
    assert (good["index"], good["text"]) == (1, " fine")
    chat = _respond(model, ChatRequest, {"messages": [{"role": "user", "content": "a"}], "logprobs": True}, [NAN])
    assert chat["choices"][0]["finish_reason"] == "content_filter"


def test_a_chat_is_answered_with_label_words_and_logprobs(model: ServedModel) -> None:
    body = {"messages": [{"role": "user", "content": "a"}], "logprobs": True, "top_logprobs": 2}
    response = _respond(model, ChatRequest, body, [[0.0, 1.0, 5.0]])
    (token,) = response["choices"][0]["logprobs"]["content"]
    assert response["choices"][0]["message"] == {"role": "assistant", "content": "odd", "refusal": None}
    assert [one["token"] for one in token["top_logprobs"]] == ["odd", "bad"]
    assert bytes(token["bytes"]) == b"odd"
    assert response["usage"] == {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}


def test_embeddings_are_numbers_or_base64(model: ServedModel) -> None:
    rows = np.float32([[0.1, -2.5], [3.0, 1e-30]])
    plain = _respond(model, EmbeddingRequest, {"input": ["a", "b"]}, rows)
    coded = _respond(model, EmbeddingRequest, {"input": ["a", "b"], "encoding_format": "base64"}, rows)
    assert np.float32([one["embedding"] for one in plain["data"]]).tobytes() == rows.tobytes()
    assert b"".join(base64.b64decode(one["embedding"]) for one in coded["data"]) == rows.tobytes()


def test_a_model_without_features_has_no_embeddings(fake_backend: Any) -> None:
    with pytest.raises(HttpError, match="no embeddings") as refused:
        EmbeddingRequest(input="a").model_query(ServedModel(fake_backend, PROVIDER))
    assert refused.value.status == 400


def test_a_prompt_reaches_the_model_apart_from_its_text(model: ServedModel) -> None:
    part = {"text": "t", "prefix": "B ", "suffix": " A", "examples": [["e", "fine"]]}
    request = parse_request(ClassifyRequest, json.dumps({"inputs": ["plain", part]}).encode())
    plain, prompted = request.read_inputs(model, RequestLimits())
    assert plain == "plain"
    assert isinstance(prompted, Prompted)
    assert prompted == Prompted("t", "B ", " A", None, (("e", "fine"),))
    assert (prompted.text, prompted.prefix, prompted.suffix) == ("t", "B ", " A")
    assert prompted.examples == (("e", "fine"),)


def test_the_text_of_a_chat_joins_all_messages(model: ServedModel) -> None:
    parts = [{"type": "text", "text": "two"}, {"type": "text", "text": "three"}]
    messages = [{"role": "system", "content": "one"}, {"role": "user", "content": parts}]
    request = parse_request(ChatRequest, json.dumps({"messages": messages}).encode())
    assert request.read_inputs(model, RequestLimits()).tolist() == ["one\n\ntwo\nthree"]


@pytest.mark.parametrize(
    ("schema", "body", "param"),
    [
        (CompletionRequest, {"prompt": "a", "stream": True}, "stream"),
        (CompletionRequest, {"prompt": "a", "n": 2}, "n"),
        (CompletionRequest, {"prompt": "a", "best_of": 3}, "best_of"),
        (CompletionRequest, {"prompt": "a", "echo": True}, "echo"),
        (CompletionRequest, {"prompt": "a", "logprobs": 21}, "logprobs"),
        (CompletionRequest, {"prompt": "a", "max_tokens": 0}, "max_tokens"),
        (CompletionRequest, {"prompt": "a", "temperature": "hot"}, "temperature"),
        (CompletionRequest, {"prompt": "a", "suffix": "b"}, "suffix"),
        (CompletionRequest, {"prompt": [1, 2]}, "prompt"),
        (CompletionRequest, {"prompt": []}, "prompt"),
        (CompletionRequest, {}, "prompt"),
        (ChatRequest, {"messages": []}, "messages"),
        (ChatRequest, {"messages": [{"role": "user", "content": "a"}], "top_logprobs": 21}, "top_logprobs"),
        (ChatRequest, {"messages": [{"role": "user", "content": [{"type": "audio"}]}]}, "messages"),
        (ChatRequest, {"messages": [{"role": "user", "content": "a"}], "tools": []}, "tools"),
        (ClassifyRequest, {"inputs": [{"prefix": "b"}]}, "inputs"),
        (ClassifyRequest, {"inputs": [{"text": "a", "examples": [["b", "c", "d"]]}]}, "inputs"),
        (EmbeddingRequest, {"input": "a", "dimensions": 3}, "dimensions"),
    ],
)
def test_unsupported_parameters_are_refused_by_name(schema: Any, body: dict[str, Any], param: str) -> None:
    with pytest.raises(HttpError) as refused:
        parse_request(schema, json.dumps(body).encode())
    assert refused.value.status == 400
    assert refused.value.param == param
    assert refused.value.message.startswith(f"{param}: ")


def test_null_is_the_same_as_absent(model: ServedModel) -> None:
    optional = ("n", "stream", "echo", "best_of", "logprobs", "max_tokens", "temperature", "user", "seed", "top_p")
    body: dict[str, Any] = {"prompt": "a", **dict.fromkeys(optional)}
    assert _respond(model, CompletionRequest, body, [[1, 0, 0]])["choices"][0]["text"] == " fine"


@pytest.mark.parametrize(
    "body",
    [b"", b"\xff\xfe", b'{"prompt":"\xff"}', b'{"prompt":"\\ud800"}', b"[" * 100_000, b'{"prompt":' * 100_000, b"[]"],
    ids=["empty", "bytes", "bad UTF-8", "half a surrogate", "deep list", "deep object", "a list"],
)
def test_malformed_json_is_refused(body: bytes) -> None:
    with pytest.raises(HttpError) as refused:
        parse_request(CompletionRequest, body)
    assert refused.value.status == 400


def test_too_many_inputs_are_status_413() -> None:
    for schema, key in ((CompletionRequest, "prompt"), (ClassifyRequest, "inputs"), (EmbeddingRequest, "input")):
        parse_request(schema, json.dumps({key: ["a"] * MAX_INPUTS}).encode())
        with pytest.raises(HttpError) as refused:
            parse_request(schema, json.dumps({key: ["a"] * (MAX_INPUTS + 1)}).encode())
        assert refused.value.status == 413


def test_an_error_quotes_no_input() -> None:
    with pytest.raises(HttpError) as refused:
        parse_request(ClassifyRequest, b'{"inputs": [{"secret-key": "secret-value", "text": 5}]}')
    assert "secret" not in json.dumps(refused.value.body)
