"""The service over HTTP: its routes, under load, and when it stops."""

import base64
import logging
import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import httpx2
import numpy as np
import pytest
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families

from fedbbpt.data.texts import as_texts
from fedbbpt.serve import RequestLimits, server


def _wait_until_in_flight(client: httpx2.Client, requests: int) -> None:
    """Waits until that many are in flight, besides the request that asks."""
    while _metric(client, "fedbbpt_requests_in_flight") <= requests:
        time.sleep(0.01)
    time.sleep(0.2)  # from the middleware to the model's queue


def _metric(client: httpx2.Client, name: str) -> float:
    lines = client.get("/metrics").text.splitlines()
    return float(next(line.split()[-1] for line in lines if line.startswith(f"{name} ")))


def test_scores_are_those_of_the_backend_in_process(client: httpx2.Client, make_texts: Any) -> None:
    names = list("abcdefghi")
    response = client.post("/v1/classify", json={"inputs": names}).json()
    here = make_texts()
    parts = [here.query(as_texts(names[i : i + 4])).scores for i in (0, 4, 8)]
    assert np.float32(response["scores"]).tobytes() == np.concatenate(parts).tobytes()
    assert response["usage"] == {"queries": 9, "tokens": 9, "output_tokens": 9}


def test_requests_of_several_connections_share_batches(client: httpx2.Client, texts: Any) -> None:
    texts.gate.clear()
    with ThreadPoolExecutor(5) as pool:
        first = pool.submit(client.post, "/v1/classify", json={"inputs": ["first"]})
        texts.entered.acquire()
        others = [pool.submit(client.post, "/v1/classify", json={"inputs": [name]}) for name in "abcd"]
        _wait_until_in_flight(client, 5)
        texts.gate.set()
        assert {one.result().status_code for one in [first, *others]} == {200}
    assert len(texts.batches) == 2
    assert sorted(texts.batches[1]) == list("abcd")


def test_responses_are_not_delayed(client: httpx2.Client) -> None:
    moments = []
    for _ in range(21):
        client.get("/healthz")
        moments.append(time.monotonic())
    typical = statistics.median(after - before for before, after in pairwise(moments))
    assert typical < 0.03  # Nagle's algorithm would delay the end of each by 40 ms


def test_health_does_not_wait_for_the_model(client: httpx2.Client, texts: Any) -> None:
    texts.gate.clear()
    with ThreadPoolExecutor(1) as pool:
        blocked = pool.submit(client.post, "/v1/classify", json={"inputs": ["a"]})
        texts.entered.acquire()
        start = time.monotonic()
        assert client.get("/healthz").json() == {"status": "ok"}
        assert time.monotonic() - start < 1
        assert not blocked.done()
        texts.gate.set()


def test_a_repeated_request_is_not_computed_again(client: httpx2.Client, texts: Any) -> None:
    def send(**more: Any) -> Any:
        return client.post("/v1/completions", json={"prompt": ["a", "b"]}, headers={"Idempotency-Key": "k"}, **more)

    first, again = send(), send()
    assert first.content == again.content  # with its id
    assert (first.headers["idempotent-replayed"], again.headers["idempotent-replayed"]) == ("false", "true")
    assert len(texts.batches) == 1
    assert _metric(client, "fedbbpt_queries_total") == 2
    other = client.post("/v1/completions", json={"prompt": "c"}, headers={"Idempotency-Key": "k"})
    assert other.status_code == 422
    elsewhere = client.post("/v1/classify", json={"inputs": ["c"]}, headers={"Idempotency-Key": "k"})
    assert elsewhere.status_code == 422


def test_a_request_repeated_while_it_is_computed_waits(client: httpx2.Client, texts: Any) -> None:
    texts.gate.clear()
    with ThreadPoolExecutor(4) as pool:
        body = {"json": {"inputs": ["a"]}, "headers": {"Idempotency-Key": "k"}}
        requests = [pool.submit(client.post, "/v1/classify", **body) for _ in range(4)]
        texts.entered.acquire()
        texts.gate.set()
        assert len({one.result().content for one in requests}) == 1
    assert len(texts.batches) == 1


def test_a_failure_of_the_model_shows_and_logs_no_input(
    client: httpx2.Client, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        failed = client.post("/v1/classify?secret", json={"inputs": ["broken"]}, headers={"Idempotency-Key": "k"})
    assert failed.status_code == 500
    assert failed.json()["error"]["type"] == "server_error"
    logged = " ".join(record.getMessage() for record in caplog.records if not record.name.startswith("http"))
    assert "POST /v1/classify: RuntimeError in conftest.py" in logged
    assert "secret" not in logged + failed.text
    assert "broken" not in logged + failed.text
    again = client.post("/v1/classify?secret", json={"inputs": ["broken"]}, headers={"Idempotency-Key": "k"})
    assert again.status_code == 500  # a failure is not cached


def test_inputs_that_the_model_cannot_read_are_a_bad_request(client: httpx2.Client) -> None:
    refused = client.post("/v1/classify", json={"inputs": ["unreadable"]})
    assert refused.status_code == 400
    assert "the model reads 8" in refused.json()["error"]["message"]


def test_images_are_classified(serving: Any, fake_backend: Any, tmp_path: Any) -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (8, 8, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    encoded = base64.b64encode((tmp_path / "a.png").read_bytes()).decode()
    with serving(fake_backend) as url, httpx2.Client(base_url=url) as client:
        response = client.post("/v1/classify", json={"inputs": [encoded]}).json()
        uri = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{encoded}"}}
        chat = client.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": [uri]}]}).json()
        far = uri | {"image_url": {"url": "http://127.0.0.1:1/a.png"}}
        content: Any
        for content in ("no image", [uri, uri], [far]):
            refused = client.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": content}]})
            assert refused.status_code == 400
        for path, body in (("completions", {"prompt": "a"}), ("embeddings", {"input": encoded})):
            assert client.post(f"/v1/{path}", json=body).status_code == 400
        assert client.get("/v1/models").json()["data"][0]["modality"] == "image"
    image = pixels.transpose(2, 0, 1).astype(np.float32)[None] / np.float32(255)
    scores = fake_backend.query(image).scores
    assert np.float32(response["scores"]).tobytes() == scores.tobytes()
    assert chat["choices"][0]["message"]["content"] == ("red", "green", "blue")[int(scores.argmax())]


def test_the_model_card(client: httpx2.Client) -> None:
    (model,) = client.get("/v1/models").json()["data"]
    assert model["id"] == "fake-texts"
    assert model["label_words"] == ["fine", "bad", "odd"]
    assert model["max_batch"] == 4
    other = client.post("/v1/classify", json={"inputs": ["a"], "model": "another"})
    assert other.status_code == 404
    assert other.json()["error"]["code"] == "model_not_found"


def test_metrics_count_requests_and_queries(client: httpx2.Client) -> None:
    client.post("/v1/classify", json={"inputs": list("abcde")})
    client.get("/nowhere")
    reply = client.get("/metrics")
    assert reply.headers["content-type"].startswith("text/plain; version=")
    families = list(text_string_to_metric_families(reply.text))
    found = {(one.name, *sorted(one.labels.values())): one.value for family in families for one in family.samples}
    expected = {
        ("fedbbpt_requests_total", "/v1/classify", "200"): 1,
        ("fedbbpt_requests_total", "404", "other"): 1,
        ("fedbbpt_queries_total",): 5,
        ("fedbbpt_tokens_total",): 5,
        ("fedbbpt_unparsed_total",): 0,
        ("fedbbpt_batch_size_bucket", "1.0"): 1,
        ("fedbbpt_batch_size_bucket", "4.0"): 2,
        ("fedbbpt_batch_size_bucket", "+Inf"): 2,
        ("fedbbpt_batch_size_sum",): 5,
        ("fedbbpt_requests_in_flight",): 1,
    }
    expected = {(name, *sorted(labels)): value for (name, *labels), value in expected.items()}
    assert found.items() >= expected.items()
    assert found["fedbbpt_model_seconds_total",] > 0


def test_metrics_have_the_accepted_format(client: httpx2.Client) -> None:
    reply = client.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert reply.headers["content-type"].startswith("application/openmetrics-text")
    assert reply.text.endswith("# EOF\n")


def test_requests_beyond_the_concurrency_limit_are_told_to_retry(serving: Any, texts: Any) -> None:
    texts.gate.clear()
    with (
        serving(texts, limits=RequestLimits(concurrency=1)) as url,
        httpx2.Client(base_url=url) as client,
        ThreadPoolExecutor(1) as pool,
    ):
        inside = pool.submit(client.post, "/v1/classify", json={"inputs": ["a"]})
        texts.entered.acquire()
        refused = client.post("/v1/classify", json={"inputs": ["b"]})
        texts.gate.set()
        assert refused.status_code == 503
        assert refused.headers["retry-after"] == "1"
        assert inside.result().status_code == 200
        assert client.post("/v1/classify", json={"inputs": ["c"]}).status_code == 200


def test_a_slow_model_is_waited_for(serving: Any, texts: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HEADER_TIMEOUT", 0.1)
    texts.gate.clear()
    with serving(texts) as url:
        threading.Timer(0.4, texts.gate.set).start()
        assert httpx2.post(f"{url}/v1/classify", json={"inputs": ["a"]}).status_code == 200


def test_stopping_refuses_requests_that_wait_too_long(
    serving: Any, texts: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(server, "SHUTDOWN_TIMEOUT", 0.1)
    texts.gate.clear()
    with ThreadPoolExecutor(2) as pool:
        with serving(texts) as url:
            requests = [pool.submit(httpx2.post, f"{url}/v1/classify", json={"inputs": [name]}) for name in "ab"]
            with httpx2.Client(base_url=url) as client:
                _wait_until_in_flight(client, 2)
            threading.Timer(0.5, texts.gate.set).start()
        assert [one.result().status_code for one in requests] == [503, 503]
    assert "Traceback" not in caplog.text
    assert len(texts.batches) == 1
