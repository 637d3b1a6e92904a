"""Failures of the OpenAI API, mocked: tried again, or reported at once, or a row of NaN."""

import traceback

import httpx2
import numpy as np
import pytest

from fedbbpt.data.texts import as_texts
from fedbbpt.errors import BackendError, FedbbptError

KEY = "sk-very-secret-0123456789"


@pytest.fixture(autouse=True)
def _key(service, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


def failure(status, message="no", code=None, headers=None):
    return status, headers or {}, {"error": {"message": message, "type": "t", "param": None, "code": code}}


@pytest.mark.parametrize(
    "trouble",
    [
        failure(500),
        failure(502),
        failure(408),
        failure(429, headers={"retry-after": "0"}),
        failure(429, "Quota of requests a minute is exceeded", headers={"retry-after": "0"}),
        failure(503, headers={"retry-after": "0"}),
        (200, {"content-type": "application/json"}, b'{"id": "x", "choi'),
        (200, {"content-type": "application/json"}, b"[]"),
        (200, {"content-type": "application/json"}, b"[" * 10**5),
        (200, {"content-type": "application/json"}, b'{"choices": ' + b"9" * 5000 + b"}"),
        (200, {}, {}),
        (200, {}, {"id": "x", "choices": [], "usage": None}),
        (200, {}, {"error": "Model is loading", "choices": []}),
        (200, {}, {"error": {"message": "Provider returned error", "code": 502}}),
        (200, {}, httpx2.ConnectError("refused")),
        (200, {}, httpx2.ReadTimeout("slow")),
        (200, {}, httpx2.RemoteProtocolError("cut")),
    ],
)
def test_what_may_pass_is_tried_again(service, trouble, open_backend, texts):
    usual = service.answer
    service.answer = lambda path, body: trouble if len(service.bodies) == 1 else usual(path, body)
    assert open_backend().query(texts[:1]).scores[0, 0] == -0.5
    assert len(service.bodies) == 2
    assert len({request.headers["idempotency-key"] for request in service.requests}) == 1


@pytest.mark.parametrize(
    ("trouble", "message"),
    [
        (failure(401, f"no {KEY}"), "check the key"),
        (failure(402, "no money"), "no money"),
        (failure(200, "no such key", 401), "no such key; check the key"),
        (failure(400, "Your credit balance is too low."), "refuses: Your credit balance"),
        (failure(403, "Not enough.", "insufficient_user_quota"), "refuses: Not enough"),
        (failure(400, "Pay.", "billing_hard_limit_reached"), "refuses: Pay"),
        (failure(429, "You exceeded your quota.", "insufficient_quota"), "exceeded your quota"),
    ],
)
def test_what_does_not_pass_is_reported_at_once_and_without_the_key(service, trouble, message, open_backend, texts):
    service.answer = lambda path, body: trouble
    with pytest.raises(BackendError, match=message) as e:
        open_backend(concurrency=1).query(texts)
    assert KEY not in "".join(traceback.format_exception(e.value))
    assert len(service.bodies) == 1


@pytest.mark.parametrize(
    ("trouble", "message"),
    [
        (failure(400, "bad"), "HTTP 400.: bad"),
        (failure(403), "check the key"),
        (failure(404, f"no such model for {KEY}\x1b[2J"), "no such model for"),
        (failure(405), "HTTP 405"),
        (failure(422, None), "HTTP 422"),
        (failure(200, "No endpoints found", 404), "HTTP 404.: No endpoints found"),
        ((404, {}, b"<html><title>Not\n here</title><script>x</script></html>"), "Not here"),
        ((400, {}, {"detail": [{"msg": "extra fields"}]}), "extra fields"),
        ((400, {}, [{"error": {"message": "in a list"}}]), "in a list"),
        ((400, {}, {"error": "a text"}), "a text"),
    ],
)
def test_what_is_refused_of_every_input_is_reported(service, trouble, message, open_backend, texts):
    service.answer = lambda path, body: trouble
    with pytest.raises(BackendError, match=message) as e:
        open_backend(concurrency=1).query(texts)
    assert KEY not in "".join(traceback.format_exception(e.value))
    assert "\x1b" not in str(e.value)
    assert len(service.bodies) == 2


@pytest.mark.parametrize(
    "trouble",
    [
        failure(400, "The prompt was filtered", "content_filter"),
        failure(400, "Your request was rejected", "content_policy_violation"),
        (400, {}, {"error": {"message": "", "innererror": {"code": "ResponsibleAIPolicyViolation"}}}),
        failure(400, "This model's maximum context length is 4096 tokens"),
        failure(403, "it requires moderation and your input was flagged"),
        failure(200, "The input was flagged", 403),
        failure(413),
        failure(422, "I do not like it"),
    ],
)
@pytest.mark.parametrize("api", ["chat", "completions"])
def test_one_refused_input_is_a_row_of_nan_for_nothing(service, api, trouble, open_backend):
    usual = service.answer
    service.answer = lambda path, body: trouble if "film" in str(body) else usual(path, body)
    for _ in range(2):
        backend = open_backend(api=api, max_inputs_per_request=4)
        scores = backend.query(as_texts(["another", "a film", "and another"])).scores
        assert np.isnan(scores).any(1).tolist() == [False, True, False]
        assert backend.service_client.billed().queries == 2
    assert len(service.bodies) == (3 if api == "chat" else 4)  # the answers are known, and the refusal is


def test_where_a_service_has_moved_is_reported_without_what_may_be_secret(service, open_backend, texts):
    service.answer = lambda path, body: (307, {"location": "https://a:b@new.example/v1?key=other#x"}, {})
    with pytest.raises(BackendError, match=r"has moved \(HTTP 307\) to https://new.example/v1; say so"):
        open_backend().query(texts[:1])


def test_what_another_api_answers_is_no_answer(service, open_backend, texts):
    service.answer = lambda path, body: (200, {}, {"output": [], "usage": {"output_tokens": 1}})
    backend = open_backend(retries=0)
    assert np.isnan(backend.query(texts[:1]).scores).all()
    assert backend.service_client.refusals.last_error == "an answer without choices"


def test_a_service_that_cannot_be_reached_is_reported_at_once(service, open_backend, texts):
    service.answer = lambda path, body: (200, {}, no_route)
    no_route = httpx2.ConnectError("refused")
    no_route.__cause__ = ConnectionRefusedError()
    with pytest.raises(FedbbptError, match=r"api.openai.com:443 refuses connections"):
        open_backend().query(texts[:1])


def test_no_answer_at_all_is_a_row_of_nan(service, open_backend, texts):
    usual = service.answer
    service.answer = lambda path, body: failure(500) if "film" in str(body) else usual(path, body)
    scores = open_backend().query(texts).scores
    assert np.isnan(scores[0]).all()
    assert scores[1, 0] == -0.5


@pytest.mark.parametrize("api", ["chat", "completions"])
def test_an_answer_that_the_service_filters_is_a_row_of_nan(service, api, open_backend, texts):
    usual = service.answer

    def filtered(path, body):
        status, headers, answer = usual(path, body)
        for choice in answer["choices"]:
            if "film" in str(body.get("messages")) or (api == "completions" and choice["index"] == 0):
                choice |= {"finish_reason": "content_filter", "logprobs": None}
        return status, headers, answer

    service.answer = filtered
    scores = open_backend(api=api, retries=1).query(texts).scores
    assert np.isnan(scores[0]).all()
    assert not np.isnan(scores[1]).any()
