"""What a model can be asked for is found out, once."""

import json
import logging

import httpx2
import numpy as np
import pytest

from fedbbpt.backend import Provider
from fedbbpt.data.texts import as_texts
from fedbbpt.errors import BackendError
from fedbbpt.services.ledger import Account
from fedbbpt.types import Usage
from fedbbpt_backends.openai_api import OpenAI

TOP = [{"token": " good", "logprob": -0.5}, {"token": " bad", "logprob": -1.5}]
AUTO = {"top_logprobs": 20, "max_tokens_parameter": "max_tokens", "temperature": 0.0}


class Model:
    """A stand-in for a model; `refuses(body)` gives a reason to refuse, or none, `tells(body)` whether it tells all."""

    def __init__(self):
        self.bodies, self.status = [], 400
        self.refuses, self.tells = (lambda body: None), (lambda body: True)

    def __call__(self, request):
        body = json.loads(request.content)
        self.bodies.append(body)
        if why := self.refuses(body):
            return httpx2.Response(self.status, json={"error": {"message": why}})
        logprobs = {"content": [{**TOP[0], "top_logprobs": TOP}]} if "logprobs" in body and self.tells(body) else None
        choice = {"message": {"content": "good"}, "logprobs": logprobs}
        return httpx2.Response(200, json={"choices": [choice], "usage": {"prompt_tokens": 9, "completion_tokens": 1}})


@pytest.fixture
def model(mock_api):
    model = Model()
    mock_api(model)
    return model


def open_backend(**options):
    provider = Provider(("pos", "neg"), label_words=("good", "bad"))
    backend = OpenAI(
        provider,
        **{"model": "m", "base_url": "http://127.0.0.1:9", "retries": 0, "usd_per_million_tokens": [1, 1]} | options,
    )
    backend.service_client.bill_to(Account("a run"))
    return backend


def prepared(**options):
    backend = open_backend(**options)
    backend.set_up()
    return backend


@pytest.mark.parametrize("status", [400, 500, 501])
def test_a_model_that_breaks_when_asked_for_log_probabilities_writes_words(model, status):
    model.status, model.refuses = status, lambda body: "list index out of range" if "logprobs" in body else None
    assert prepared().info.resolved["top_logprobs"] == 0
    assert len(model.bodies) <= 9


@pytest.mark.parametrize("token", ["<think>", "<|channel|>", "<｜begin｜>", "\n[THINK]"])
def test_of_a_model_that_thinks_first_the_first_token_tells_nothing(model, monkeypatch, token):
    monkeypatch.setitem(TOP[0], "token", token)
    assert prepared().info.resolved["top_logprobs"] == 0
    with pytest.raises(BackendError, match="returns no log-probabilities"):
        prepared(top_logprobs=20)


def test_a_model_that_can_do_all_is_asked_once(model):
    backend = open_backend()
    assert backend.setup_usage == Usage(3, 3)
    assert backend.adaptive_setup
    assert backend.info.resolved == {}
    backend.set_up()
    assert backend.setup_usage == Usage(1, 1)
    assert not backend.adaptive_setup
    assert backend.info.resolved == AUTO
    assert len(model.bodies) == backend.service_client.billed().queries == 1
    prepared()
    assert len(model.bodies) == 1  # the answer is known


def test_what_was_found_is_not_asked_again(model, texts):
    backend = open_backend(**AUTO)
    assert backend.setup_usage == Usage()
    backend.set_up()
    assert model.bodies == []
    assert backend.query(texts).scores[0].tolist() == [-0.5, -1.5]


@pytest.mark.parametrize("status", [400, 403, 404, 405, 413, 422, 451])
def test_any_refusal_lets_the_next_way_be_tried(model, status, texts):
    model.status = status
    model.refuses = lambda body: (
        ({"max_tokens", "logprobs", "top_logprobs"} & body.keys() and "context length, or what not")
        or (body.get("temperature", 1) != 1 and "only the default temperature is supported")
    )
    backend = prepared()
    assert backend.info.resolved == {
        "top_logprobs": 0,
        "max_tokens_parameter": "max_completion_tokens",
        "temperature": "default",
    }
    assert backend.setup_usage == Usage(1, 1)
    assert backend.service_client.billed().queries == 1
    assert backend.query(texts).scores.argmax(1).tolist() == [0, 0]
    assert "temperature" not in model.bodies[-1]


@pytest.mark.parametrize("most", [0, 5])
def test_what_is_taken_and_passed_over_counts_as_refused(model, most):
    model.tells = lambda body: body["top_logprobs"] <= most
    backend = prepared()
    assert backend.info.resolved == AUTO | {"top_logprobs": most}
    count = 3 if most == 0 else 2
    assert backend.setup_usage == Usage(count, count)
    assert len(model.bodies) == backend.service_client.billed().queries == count
    before = len(model.bodies)
    assert not np.isnan(backend.query(as_texts(["Hello."])).scores).any()  # as was asked to find out
    assert len(model.bodies) == before + 1


def test_refused_by_everything_is_the_last_reason_and_what_was_given(model):
    model.refuses = lambda body: f"no {sorted(body)}"
    with pytest.raises(BackendError, match=r"HTTP 400\): no \['max_completion_tokens', 'messages', 'model'\]"):
        prepared()
    assert len(model.bodies) == 12
    with pytest.raises(BackendError, match=r"'temperature'\]; nothing was tried but -o backend.temperature=0.7"):
        prepared(temperature=0.7)


def test_log_probabilities_that_were_asked_for_are_missed(model):
    model.tells = lambda body: False
    with pytest.raises(BackendError, match=r"m returns no log-probabilities; leave out -o backend\.top_logprobs"):
        prepared(top_logprobs=5)
    assert len(model.bodies) == 1


@pytest.mark.parametrize(("status", "message"), [(401, "check the key"), (402, "no")])
def test_who_asks_is_no_ability(model, status, message):
    model.status, model.refuses = status, lambda body: "no"
    with pytest.raises(BackendError, match=message):
        prepared()
    assert len(model.bodies) == 1


def test_a_service_that_is_down_is_quoted(model):
    model.status, model.refuses = 500, lambda body: "out of memory"
    with pytest.raises(BackendError, match=r"m does not answer \(HTTP 500: out of memory\); check that"):
        prepared()
    assert len(model.bodies) == 2  # with and without log-probabilities


def test_an_ability_that_goes_is_reported_and_the_word_counts(model, caplog, texts):
    backend = prepared()
    model.tells = lambda body: "film" not in str(body)
    with caplog.at_level(logging.WARNING, "fedbbpt"):
        answers = backend.query(texts)
        backend.query(as_texts(["a film and more"]))
    assert answers.scores.argmax(1).tolist() == [0, 0]
    assert answers.scores[0, 0] == np.float32(np.log(0.9))
    assert [record.getMessage() for record in caplog.records] == [
        "m sends some answers without log-probabilities: for these, the token itself counts"
    ]


def test_answers_at_the_services_own_temperature_are_drawn(model):
    backend = prepared(temperature="default")
    assert backend.info.resolved == AUTO | {"temperature": "default"}
    before = len(model.bodies)
    backend.query(as_texts(["a film"] * 2))
    assert len(model.bodies) == before + 2
