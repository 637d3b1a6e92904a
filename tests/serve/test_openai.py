"""OpenAI's own client works with the service."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import openai
import pytest

from fedbbpt.data.texts import as_texts

TOKEN = "correct-horse"


@pytest.fixture
def client(serving: Any, texts: Any) -> Iterator[openai.OpenAI]:
    with (
        serving(texts, token=TOKEN) as url,
        openai.OpenAI(base_url=f"{url}/v1", api_key=TOKEN, max_retries=0) as opened,
    ):
        yield opened


def _logprobs(texts: Any, *names: str) -> Any:
    scores = texts.query(as_texts(names)).scores.astype(np.float64)
    return (scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)).astype(np.float32)


def test_models(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["fake-texts"]


def test_completions(client: openai.OpenAI, texts: Any) -> None:
    response = client.completions.create(
        model="fake-texts", prompt=["a", "b"], max_tokens=1, logprobs=20, temperature=0, n=1, echo=False
    )
    expected = _logprobs(texts, "a", "b")
    for choice, row in zip(response.choices, expected, strict=True):
        assert choice.logprobs is not None
        (top,) = choice.logprobs.top_logprobs or []
        np.testing.assert_allclose([top[f" {word}"] for word in ("fine", "bad", "odd")], row, rtol=1e-6)
        assert choice.text == " " + ("fine", "bad", "odd")[int(row.argmax())]
        assert choice.logprobs.token_logprobs == [max(top.values())]
    assert response.usage is not None
    assert response.usage.total_tokens == 2


def test_chat(client: openai.OpenAI, texts: Any) -> None:
    response = client.chat.completions.create(
        model="fake-texts",
        messages=[{"role": "system", "content": "Which?"}, {"role": "user", "content": "a"}],
        logprobs=True,
        top_logprobs=20,
        max_completion_tokens=1,
    )
    (choice,) = response.choices
    assert choice.logprobs is not None
    (token,) = choice.logprobs.content or []
    row = _logprobs(texts, "Which?\n\na")[0]
    assert {one.token for one in token.top_logprobs} == {"fine", "bad", "odd"}
    assert token.token == choice.message.content == ("fine", "bad", "odd")[int(row.argmax())]
    np.testing.assert_allclose([one.logprob for one in token.top_logprobs], np.sort(row)[::-1], rtol=1e-6)


def test_embeddings(client: openai.OpenAI, texts: Any) -> None:
    rows = texts.features(as_texts(["a", "b"]))
    plain = client.embeddings.create(model="fake-texts", input=["a", "b"], encoding_format="float")
    coded = client.embeddings.create(model="fake-texts", input=["a", "b"])
    for response in (plain, coded):
        assert np.float32([one.embedding for one in response.data]).tobytes() == rows.tobytes()


def test_idempotency_keys(client: openai.OpenAI, texts: Any) -> None:
    response = [
        client.completions.create(model="fake-texts", prompt="a", extra_headers={"Idempotency-Key": "k"}).id
        for _ in range(2)
    ]
    assert response[0] == response[1]
    assert texts.batches == [["a"]]


def test_errors(client: openai.OpenAI) -> None:
    create: Any = client.completions.create
    with pytest.raises(openai.BadRequestError, match="stream: ") as refused:
        create(model="fake-texts", prompt="a", stream=True)
    assert refused.value.param == "stream"
    with pytest.raises(openai.NotFoundError, match="one model"):
        create(model="another", prompt="a")
    with pytest.raises(openai.AuthenticationError, match="token is missing or wrong"):
        client.with_options(api_key="wrong").models.list()
