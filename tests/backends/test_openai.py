"""The OpenAI API, mocked: what is sent, and what is made of what comes back."""

import base64
import io
import json
import os
import traceback
from pathlib import Path

import httpx2
import numpy as np
import pytest
import vcr
from PIL import Image

from fedbbpt.backend import Provider
from fedbbpt.data.texts import as_texts
from fedbbpt.errors import BackendError, ConfigError, FedbbptError
from fedbbpt.services import request
from fedbbpt.services.ledger import Account
from fedbbpt.types import Dataset, Prompted, Usage
from fedbbpt_backends.label_scores import label_scores
from fedbbpt_backends.openai_api import OpenAI

PROVIDER = Provider(("pos", "neg", "mid"), question="Sentiment", label_words=("good", "bad", "so so"))
CLIENT = httpx2.Client
CASSETTES = Path(__file__).parent / "cassettes"
KEY = "sk-very-secret-0123456789"
TOP = {" good": -0.5, " bad": -1.5, " so": -3.0}
TEXTS = as_texts(["a film", "another"])


class Service:
    """A stand-in for the API: `answer(request, body)` returns a status, headers and a body."""

    def __init__(self):
        self.bodies, self.requests = [], []
        self.answer = lambda path, body: (200, {}, chat() if "chat" in path else completions(len(body["prompt"])))

    def __call__(self, request):
        body = json.loads(request.content)
        self.bodies.append(body)
        self.requests.append(request)
        status, headers, content = self.answer(request.url.path, body)
        if isinstance(content, Exception):
            raise content
        if isinstance(content, bytes):
            return httpx2.Response(status, headers=headers, content=content)
        return httpx2.Response(status, headers=headers, json=content)


def chat(text="good", top=TOP):
    content = [{"token": text, "logprob": -0.5, "bytes": None, "top_logprobs": listed(top)}]
    message = {"role": "assistant", "content": text}
    choice = {
        "index": 0,
        "finish_reason": "stop",
        "message": message,
        "logprobs": {"content": content} if top else None,
    }
    usage = {"prompt_tokens": 20, "completion_tokens": 1, "total_tokens": 21}
    return {"id": "x", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice], "usage": usage}


def listed(top):
    return [{"token": token, "logprob": log_p, "bytes": None} for token, log_p in (top or {}).items()]


def completions(count):
    choices = [
        {
            "index": i,
            "text": " good",
            "finish_reason": "length",
            "logprobs": {
                "tokens": [" good"],
                "token_logprobs": [-0.5],
                "text_offset": [0],
                "top_logprobs": [{" good": -0.5 - i, " bad": -2.0}],
            },
        }
        for i in range(count)
    ]
    usage = {"prompt_tokens": 11 * count, "completion_tokens": count, "total_tokens": 12 * count}
    shuffled = choices[::-1]  # an answer says which prompt it is for
    return {"id": "x", "object": "text_completion", "created": 0, "model": "m", "choices": shuffled, "usage": usage}


def failure(status, message="no", code=None, headers=None):
    return status, headers or {}, {"error": {"message": message, "type": "t", "param": None, "code": code}}


@pytest.fixture
def service(monkeypatch, tmp_path):
    service = Service()
    monkeypatch.setenv("FEDBBPT_CACHE", str(tmp_path))
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setattr(request, "MIN_BACKOFF", 0.001)
    transport = httpx2.MockTransport(service)
    mocked = type(
        "Mocked", (httpx2.Client,), {"__init__": lambda self, **_: CLIENT.__init__(self, transport=transport)}
    )
    monkeypatch.setattr(httpx2, "Client", mocked)
    return service


def opened(provider=PROVIDER, **options):
    backend = OpenAI(provider, **{"top_logprobs": 20, "max_tokens_parameter": "max_tokens", "retries": 2} | options)
    backend.service_client.bill_to(Account("a run"))
    return backend


def test_the_key_is_not_shown_by_a_debugger(service):
    assert KEY not in repr(vars(opened())["_endpoint"])


class TestChat:
    def test_a_text_is_asked_about_in_the_template(self, service):
        answers = opened(model="m").query(as_texts([Prompted("a film", "Read.\n", "\nSo?")]))
        (body,) = service.bodies
        asked = "Text: Read.\na film\nSo?\nIs the Sentiment good, bad or so so?\nAnswer:"
        assert body == {
            "messages": [{"role": "user", "content": asked}],
            **{"model": "m", "temperature": 0.0, "max_tokens": 1, "logprobs": True, "top_logprobs": 20},
        }
        assert str(service.requests[0].url) == "https://api.openai.com/v1/chat/completions"
        assert service.requests[0].headers["authorization"] == f"Bearer {KEY}"
        assert len(service.requests[0].headers["idempotency-key"]) == 40
        np.testing.assert_array_equal(answers.scores, np.array([[-0.5, -1.5, -3.0]], np.float32))
        assert (answers.tokens, answers.output_tokens) == (21, 1)

    def test_an_image_goes_as_8_bit_png(self, service):
        image = np.random.default_rng(0).random((1, 3, 5, 7)).astype(np.float32)
        backend = opened(image_size=5)
        backend.query(image)
        text, picture = service.bodies[0]["messages"][0]["content"]
        assert text == {"type": "text", "text": "Text: \nIs the Sentiment good, bad or so so?\nAnswer:"}
        kind, _, data = picture["image_url"]["url"].partition(",")
        assert kind == "data:image/png;base64"
        pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))).transpose(2, 0, 1)
        assert np.array_equal(pixels, (image[0] * 255).round())
        assert backend.info.input_size == (5, 5)

    def test_without_log_probabilities_the_model_writes(self, service):
        service.answer = lambda path, body: (200, {}, chat("It is so so." if "film" in str(body) else "Hm.", None))
        answers = opened(top_logprobs=0).query(TEXTS)
        assert answers.scores.argmax(1)[0] == 2
        assert len(set(answers.scores[1])) == 1
        assert answers.unparsed == 1
        assert "logprobs" not in service.bodies[0]
        assert service.bodies[0]["max_tokens"] > 3

    def test_log_probabilities_that_name_no_class_are_counted(self, service):
        tops = {"film": {"Ġso": -0.2, "Ċ": -2.0}, "another": {"The": -0.1, "\u2581": -3.0}}
        service.answer = lambda path, body: (200, {}, chat(top=tops["film" if "film" in str(body) else "another"]))
        answers = opened().query(TEXTS)
        assert answers.unparsed == 1
        assert answers.scores[0].argmax() == 2
        assert len(set(answers.scores[1])) == 1


class TestCompletions:
    def test_several_texts_go_in_one_request(self, service):
        answers = opened(api="completions", max_inputs_per_request=3, concurrency=1).query(
            as_texts([f"text {i}" for i in range(5)])
        )
        assert sorted(len(body["prompt"]) for body in service.bodies) == [2, 3]
        assert service.bodies[0]["prompt"][0] == "Text: text 0\nSentiment:"
        assert answers.scores[:, 0].tolist() == [-0.5, -1.5, -2.5, -0.5, -1.5]
        assert (answers.tokens, answers.output_tokens) == (60, 5)


class TestEmbeddings:
    @pytest.fixture
    def provider(self):
        shots = Dataset(as_texts(["up", "upper", "down", "downer"]), np.array([0, 0, 1, 1]))
        return Provider(("rise", "fall"), shots=lambda size: shots)

    def test_classes_are_prototypes_of_the_providers_shots(self, service, provider):
        def vectors(path, body):
            rows = [[1.0 if "up" in text else -1.0, 0.5, len(text) / 10] for text in body["input"]]
            data = [{"object": "embedding", "index": i, "embedding": row} for i, row in enumerate(rows)]
            usage = {"prompt_tokens": 3 * len(rows), "total_tokens": 3 * len(rows)}
            return 200, {}, {"object": "list", "data": data[::-1], "model": "m", "usage": usage}

        service.answer = vectors
        backend = opened(provider, api="embeddings", max_inputs_per_request=2)
        assert backend.setup_usage == Usage(4, 2)
        backend.set_up()
        answers = backend.query(as_texts(["go up", "go down"]))
        assert answers.scores.argmax(1).tolist() == [0, 1]
        assert answers.tokens == 6
        assert sorted(body["input"] for body in service.bodies)[-1] == ["up", "upper"]

    @pytest.mark.parametrize(("bad", "left"), [("upper", True), ("up", False)])
    def test_examples_that_are_refused_are_left_out_while_their_class_has_others(self, service, provider, bad, left):
        def vectors(path, body):
            if any(bad in text for text in body["input"]):
                return failure(400, "flagged")
            return 200, {}, {"data": [{"embedding": [1.0 if "up" in text else -1.0, 0.5]} for text in body["input"]]}

        service.answer = vectors
        backend = opened(provider, api="embeddings", max_inputs_per_request=4)
        if left:
            backend.set_up()
            assert backend.query(as_texts(["go up"])).scores.argmax(1).tolist() == [0]
        else:
            with pytest.raises(BackendError, match=r"refuses all of the provider's examples of 'rise' .*flagged"):
                backend.set_up()

    def test_that_are_all_the_same_are_refused(self, service, provider):
        service.answer = lambda path, body: (200, {}, {"data": [{"embedding": [0.0, 0.0]} for _ in body["input"]]})
        with pytest.raises(BackendError, match="all of the provider's examples with the same vector"):
            opened(provider, api="embeddings").set_up()

    def test_need_examples(self, service):
        with pytest.raises(ConfigError, match="api=embeddings needs examples"):
            opened(api="embeddings")


class TestErrors:
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
            (200, {}, {**chat(), "choices": [], "usage": None}),
            (200, {}, {"error": "Model is loading", "choices": []}),
            (200, {}, {"error": {"message": "Provider returned error", "code": 502}}),
            (200, {}, httpx2.ConnectError("refused")),
            (200, {}, httpx2.ReadTimeout("slow")),
            (200, {}, httpx2.RemoteProtocolError("cut")),
        ],
    )
    def test_what_may_pass_is_tried_again(self, service, trouble):
        said = []
        service.answer = lambda path, body: said.append(1) or (trouble if len(said) == 1 else (200, {}, chat()))
        assert opened().query(TEXTS[:1]).scores[0, 0] == -0.5
        assert len(service.bodies) == 2
        assert len({request.headers["idempotency-key"] for request in service.requests}) == 1

    @pytest.mark.parametrize(
        ("trouble", "said"),
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
    def test_what_does_not_pass_is_said_at_once_and_without_the_key(self, service, trouble, said):
        service.answer = lambda path, body: trouble
        with pytest.raises(BackendError, match=said) as e:
            opened(concurrency=1).query(TEXTS)
        assert KEY not in "".join(traceback.format_exception(e.value))
        assert len(service.bodies) == 1

    @pytest.mark.parametrize(
        ("trouble", "said"),
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
    def test_what_is_refused_of_every_input_is_said(self, service, trouble, said):
        service.answer = lambda path, body: trouble
        with pytest.raises(BackendError, match=said) as e:
            opened(concurrency=1).query(TEXTS)
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
    def test_one_refused_input_is_a_row_of_nan_for_nothing(self, service, api, trouble):
        usual = service.answer
        service.answer = lambda path, body: trouble if "film" in str(body) else usual(path, body)
        for _ in range(2):
            backend = opened(api=api, max_inputs_per_request=4)
            scores = backend.query(as_texts(["another", "a film", "and another"])).scores
            assert np.isnan(scores).any(1).tolist() == [False, True, False]
            assert backend.service_client.billed().queries == 2
        assert len(service.bodies) == (3 if api == "chat" else 4)  # the answers are known, and the refusal is

    def test_where_a_service_has_moved_is_said_without_what_may_be_secret(self, service):
        service.answer = lambda path, body: (307, {"location": "https://a:b@new.example/v1?key=other#x"}, {})
        with pytest.raises(BackendError, match=r"has moved \(HTTP 307\) to https://new.example/v1; say so"):
            opened().query(TEXTS[:1])

    def test_what_another_api_answers_is_no_answer(self, service):
        service.answer = lambda path, body: (200, {}, {"output": [], "usage": {"output_tokens": 1}})
        backend = opened(retries=0)
        assert np.isnan(backend.query(TEXTS[:1]).scores).all()
        assert backend.service_client.refusals.last_error == "an answer without choices"

    def test_a_service_that_cannot_be_reached_is_said_at_once(self, service):
        service.answer = lambda path, body: (200, {}, no_route)
        no_route = httpx2.ConnectError("refused")
        no_route.__cause__ = ConnectionRefusedError()
        with pytest.raises(FedbbptError, match=r"api.openai.com:443 refuses connections"):
            opened().query(TEXTS[:1])

    def test_no_answer_at_all_is_a_row_of_nan(self, service):
        service.answer = lambda path, body: failure(500) if "film" in str(body) else (200, {}, chat())
        scores = opened().query(TEXTS).scores
        assert np.isnan(scores[0]).all()
        assert scores[1, 0] == -0.5

    @pytest.mark.parametrize("api", ["chat", "completions"])
    def test_nor_is_what_the_service_filters(self, service, api):
        def filtered(path, body):
            answer = chat() if api == "chat" else completions(len(body["prompt"]))
            for choice in answer["choices"]:
                if "film" in str(body.get("messages")) or (api == "completions" and choice["index"] == 0):
                    choice |= {"finish_reason": "content_filter", "logprobs": None}
            return 200, {}, answer

        service.answer = filtered
        scores = opened(api=api, retries=1).query(TEXTS).scores
        assert np.isnan(scores[0]).all()
        assert not np.isnan(scores[1]).any()


def test_the_shapes_of_the_provider(monkeypatch, tmp_path):
    """Those of the cassette, which says where they are from."""
    monkeypatch.setenv("FEDBBPT_CACHE", str(tmp_path))
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with vcr.use_cassette(str(CASSETTES / "openai-chat.yaml"), record_mode="none") as cassette:
        backend = opened(concurrency=1)
        answers = backend.query(TEXTS[:1])
        assert np.isnan(backend.query(TEXTS[1:]).scores).all()
        assert "HTTP 400): Unsupported parameter: 'max_tokens'" in backend.service_client.refusals.last_error
        assert cassette.play_count == 2
    good = np.logaddexp(-0.31725305, -1.9190147)
    np.testing.assert_allclose(answers.scores, [[good, -2.6319860, -4.9023438]], rtol=1e-6)
    assert (answers.tokens, answers.output_tokens) == (20, 1)


def test_the_query_of_an_address_is_kept(service):
    opened(base_url="https://host/openai/v1?api-version=2026-01").query(TEXTS)
    assert {str(request.url) for request in service.requests} == {
        "https://host/openai/v1/chat/completions?api-version=2026-01"
    }


class TestKeys:
    def test_none_for_openai(self, service, monkeypatch):
        monkeypatch.delenv("OPENAI_API_KEY")
        with pytest.raises(ConfigError, match="the key of OpenAI's API is missing: set OPENAI_API_KEY"):
            opened()

    def test_another_server_may_need_none(self, service, monkeypatch):
        monkeypatch.delenv("OPENAI_API_KEY")
        monkeypatch.setenv("OPENAI_BASE_URL", "http://elsewhere")
        opened(base_url="http://127.0.0.1:9/v1").query(TEXTS)
        assert str(service.requests[0].url).startswith("http://127.0.0.1:9/v1/")

    def test_a_file_that_only_its_owner_reads(self, service, tmp_path):
        file = tmp_path / "key"
        file.write_text("of-a-file\n")
        file.chmod(0o600)
        opened(key_file=str(file)).query(TEXTS[:1])
        assert service.requests[0].headers["authorization"] == "Bearer of-a-file"
        file.chmod(0o640)
        with pytest.raises(ConfigError, match=r"others must not read a key: chmod 600"):
            opened(key_file=str(file))
        with pytest.raises(ConfigError, match="cannot read the key in"):
            opened(key_file=str(tmp_path / "none"))

    def test_two_keys_do_not_share_answers(self, service, monkeypatch):
        opened().query(TEXTS[:1])
        opened().query(TEXTS[:1])
        monkeypatch.setenv("OPENAI_API_KEY", "another")
        opened().query(TEXTS[:1])
        assert len(service.bodies) == 2

    def test_nothing_that_is_written_holds_it(self, service, tmp_path):
        opened().query(TEXTS)
        written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
        assert written
        assert KEY.encode() not in written
        assert os.environ["OPENAI_API_KEY"] == KEY


class TestLabelScores:
    words = ("good", "very bad", "very good", "so so")

    def test_a_listed_token_counts_for_its_class(self):
        scores = label_scores({" Good": -1.0, "good": -2.0, " so": -1.5, " very": -0.9, "x": -4.0}, self.words)
        assert scores[0] == np.float32(np.logaddexp(-1.0, -2.0))
        assert scores[3] == -1.5
        assert scores[1] == scores[2]  # "very" may be either

    def test_what_is_not_listed_is_as_likely_as_it_may_be(self):
        few = label_scores({" good": -0.05, " so": -3.5}, self.words)
        assert few[1] == np.float32(np.log(1 - np.exp(-0.05) - np.exp(-3.5)))
        many = label_scores({" good": -3.0, " so": -5.0}, self.words)
        assert many[1] == -5.0
        assert (label_scores({" good": 0.0}, self.words) == 0.0).all()

    def test_single_tokens_keep_their_bits(self):
        exact = np.random.default_rng(0).normal(-5, 3, 4).astype(np.float32)
        top = {f" {word}": float(value) for word, value in zip(self.words, exact, strict=True)}
        assert np.array_equal(label_scores(json.loads(json.dumps(top)), self.words), exact)
