"""The OpenAI API, mocked: what is sent, and what is made of what comes back."""

import base64
import io
import os
from pathlib import Path

import numpy as np
import pytest
import vcr
from PIL import Image

from fedbbpt.backend import Provider
from fedbbpt.data.texts import as_texts
from fedbbpt.errors import BackendError, ConfigError
from fedbbpt.types import Dataset, Prompted, Usage

CASSETTES = Path(__file__).parent / "cassettes"


def test_a_text_is_asked_about_in_the_template(service, open_backend):
    answers = open_backend(model="m").query(as_texts([Prompted("a film", "Read.\n", "\nSo?")]))
    (body,) = service.bodies
    question = "Text: Read.\na film\nSo?\nIs the Sentiment good, bad or so so?\nAnswer:"
    assert body == {
        "messages": [{"role": "user", "content": question}],
        **{"model": "m", "temperature": 0.0, "max_tokens": 1, "logprobs": True, "top_logprobs": 20},
    }
    assert str(service.requests[0].url) == "https://api.openai.com/v1/chat/completions"
    assert service.requests[0].headers["authorization"] == f"Bearer {os.environ['OPENAI_API_KEY']}"
    assert len(service.requests[0].headers["idempotency-key"]) == 40
    np.testing.assert_array_equal(answers.scores, np.array([[-0.5, -1.5, -3.0]], np.float32))
    assert (answers.tokens, answers.output_tokens) == (21, 1)


def test_an_image_goes_as_8_bit_png(service, open_backend):
    image = np.random.default_rng(0).random((1, 3, 5, 7)).astype(np.float32)
    backend = open_backend(image_size=5)
    backend.query(image)
    text, picture = service.bodies[0]["messages"][0]["content"]
    assert text == {"type": "text", "text": "Text: \nIs the Sentiment good, bad or so so?\nAnswer:"}
    kind, _, data = picture["image_url"]["url"].partition(",")
    assert kind == "data:image/png;base64"
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))).transpose(2, 0, 1)
    assert np.array_equal(pixels, (image[0] * 255).round())
    assert backend.info.input_size == (5, 5)


def test_without_log_probabilities_the_model_writes(service, open_backend, texts):
    service.answer = lambda path, body: (200, {}, service.chat("It is so so." if "film" in str(body) else "Hm.", None))
    answers = open_backend(top_logprobs=0).query(texts)
    assert answers.scores.argmax(1)[0] == 2
    assert len(set(answers.scores[1])) == 1
    assert answers.unparsed == 1
    assert "logprobs" not in service.bodies[0]
    assert service.bodies[0]["max_tokens"] > 3


def test_log_probabilities_that_name_no_class_are_counted(service, open_backend, texts):
    tops = {"film": {"Ġso": -0.2, "Ċ": -2.0}, "another": {"The": -0.1, "\u2581": -3.0}}
    service.answer = lambda path, body: (200, {}, service.chat(top=tops["film" if "film" in str(body) else "another"]))
    answers = open_backend().query(texts)
    assert answers.unparsed == 1
    assert answers.scores[0].argmax() == 2
    assert len(set(answers.scores[1])) == 1


def test_several_texts_go_in_one_request(service, open_backend):
    answers = open_backend(api="completions", max_inputs_per_request=3, concurrency=1).query(
        as_texts([f"text {i}" for i in range(5)])
    )
    assert sorted(len(body["prompt"]) for body in service.bodies) == [2, 3]
    assert service.bodies[0]["prompt"][0] == "Text: text 0\nSentiment:"
    assert answers.scores[:, 0].tolist() == [-0.5, -1.5, -2.5, -0.5, -1.5]
    assert (answers.tokens, answers.output_tokens) == (60, 5)


def test_the_shapes_of_the_provider(monkeypatch, tmp_path, open_backend, texts):
    """Those of the cassette, which says where they are from."""
    monkeypatch.setenv("FEDBBPT_CACHE", str(tmp_path))
    monkeypatch.setenv("OPENAI_API_KEY", "sk-any")
    with vcr.use_cassette(str(CASSETTES / "openai-chat.yaml"), record_mode="none") as cassette:
        backend = open_backend(concurrency=1)
        answers = backend.query(texts[:1])
        assert np.isnan(backend.query(texts[1:]).scores).all()
        assert "HTTP 400): Unsupported parameter: 'max_tokens'" in backend.service_client.refusals.last_error
        assert cassette.play_count == 2
    good = np.logaddexp(-0.31725305, -1.9190147)
    np.testing.assert_allclose(answers.scores, [[good, -2.6319860, -4.9023438]], rtol=1e-6)
    assert (answers.tokens, answers.output_tokens) == (20, 1)


def test_the_query_string_of_a_url_is_sent(service, open_backend, texts):
    open_backend(base_url="https://host/openai/v1?api-version=2026-01").query(texts)
    assert {str(request.url) for request in service.requests} == {
        "https://host/openai/v1/chat/completions?api-version=2026-01"
    }


@pytest.fixture
def provider():
    shots = Dataset(as_texts(["up", "upper", "down", "downer"]), np.array([0, 0, 1, 1]))
    return Provider(("rise", "fall"), shots=lambda size: shots)


def test_classes_are_prototypes_of_the_providers_shots(service, provider, open_backend):
    def vectors(path, body):
        rows = [[1.0 if "up" in text else -1.0, 0.5, len(text) / 10] for text in body["input"]]
        data = [{"object": "embedding", "index": i, "embedding": row} for i, row in enumerate(rows)]
        usage = {"prompt_tokens": 3 * len(rows), "total_tokens": 3 * len(rows)}
        return 200, {}, {"object": "list", "data": data[::-1], "model": "m", "usage": usage}

    service.answer = vectors
    backend = open_backend(provider, api="embeddings", max_inputs_per_request=2)
    assert backend.setup_usage == Usage(4, 2)
    backend.set_up()
    answers = backend.query(as_texts(["go up", "go down"]))
    assert answers.scores.argmax(1).tolist() == [0, 1]
    assert answers.tokens == 6
    assert sorted(body["input"] for body in service.bodies)[-1] == ["up", "upper"]


@pytest.mark.parametrize(("bad", "left"), [("upper", True), ("up", False)])
def test_refused_examples_are_left_out_while_their_class_has_others(service, provider, open_backend, bad, left):
    def vectors(path, body):
        if any(bad in text for text in body["input"]):
            return 400, {}, {"error": {"message": "flagged"}}
        return 200, {}, {"data": [{"embedding": [1.0 if "up" in text else -1.0, 0.5]} for text in body["input"]]}

    service.answer = vectors
    backend = open_backend(provider, api="embeddings", max_inputs_per_request=4)
    if left:
        backend.set_up()
        assert backend.query(as_texts(["go up"])).scores.argmax(1).tolist() == [0]
    else:
        with pytest.raises(BackendError, match=r"refuses all of the provider's examples of 'rise' .*flagged"):
            backend.set_up()


def test_examples_with_one_vector_are_refused(service, provider, open_backend):
    service.answer = lambda path, body: (200, {}, {"data": [{"embedding": [0.0, 0.0]} for _ in body["input"]]})
    with pytest.raises(BackendError, match="all of the provider's examples with the same vector"):
        open_backend(provider, api="embeddings").set_up()


def test_embeddings_need_examples(service, open_backend):
    with pytest.raises(ConfigError, match="api=embeddings needs examples"):
        open_backend(api="embeddings")
