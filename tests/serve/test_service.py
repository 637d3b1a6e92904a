"""A service over HTTP: what its routes say, under load and when it stops."""

import base64
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import numpy as np
import pytest
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families

from fedbbpt.data.texts import as_texts
from fedbbpt.serve import RequestLimits, server


def _wait_until_in_flight(client: httpx2.Client, requests: int) -> None:
    """Until so many are, beside the one that asks."""
    while _metric(client, "fedbbpt_requests_in_flight") <= requests:
        time.sleep(0.01)
    time.sleep(0.2)  # from the guard to the model's queue


def _metric(client: httpx2.Client, name: str) -> float:
    lines = client.get("/metrics").text.splitlines()
    return float(next(line.split()[-1] for line in lines if line.startswith(f"{name} ")))


def test_scores_are_those_of_the_backend_in_the_same_process(asking: httpx2.Client, make_texts: Any) -> None:
    names = list("abcdefghi")
    said = asking.post("/v1/classify", json={"inputs": names}).json()
    here = make_texts()
    parts = [here.query(as_texts(names[i : i + 4])).scores for i in (0, 4, 8)]
    assert np.float32(said["scores"]).tobytes() == np.concatenate(parts).tobytes()
    assert said["usage"] == {"queries": 9, "tokens": 9, "output_tokens": 9}


def test_requests_of_several_connections_share_calls(asking: httpx2.Client, texts: Any) -> None:
    texts.gate.clear()
    with ThreadPoolExecutor(5) as pool:
        first = pool.submit(asking.post, "/v1/classify", json={"inputs": ["first"]})
        texts.entered.acquire()
        others = [pool.submit(asking.post, "/v1/classify", json={"inputs": [name]}) for name in "abcd"]
        _wait_until_in_flight(asking, 5)
        texts.gate.set()
        assert {one.result().status_code for one in [first, *others]} == {200}
    assert len(texts.calls) == 2
    assert sorted(texts.calls[1]) == list("abcd")


def test_replies_are_not_held_back(asking: httpx2.Client) -> None:
    asking.get("/healthz")
    start = time.monotonic()
    for _ in range(20):
        asking.get("/healthz")
    assert time.monotonic() - start < 20 * 0.03  # Nagle's algorithm holds the end of each back for 40 ms


def test_health_does_not_wait_for_the_model(asking: httpx2.Client, texts: Any) -> None:
    texts.gate.clear()
    with ThreadPoolExecutor(1) as pool:
        blocked = pool.submit(asking.post, "/v1/classify", json={"inputs": ["a"]})
        texts.entered.acquire()
        start = time.monotonic()
        assert asking.get("/healthz").json() == {"status": "ok"}
        assert time.monotonic() - start < 1
        assert not blocked.done()
        texts.gate.set()


def test_a_repeated_request_is_not_computed_again(asking: httpx2.Client, texts: Any) -> None:
    def ask(**more: Any) -> Any:
        return asking.post("/v1/completions", json={"prompt": ["a", "b"]}, headers={"Idempotency-Key": "k"}, **more)

    first, again = ask(), ask()
    assert first.content == again.content  # with its id
    assert (first.headers["idempotent-replayed"], again.headers["idempotent-replayed"]) == ("false", "true")
    assert len(texts.calls) == 1
    assert _metric(asking, "fedbbpt_queries_total") == 2
    other = asking.post("/v1/completions", json={"prompt": "c"}, headers={"Idempotency-Key": "k"})
    assert other.status_code == 422
    elsewhere = asking.post("/v1/classify", json={"inputs": ["c"]}, headers={"Idempotency-Key": "k"})
    assert elsewhere.status_code == 422


def test_a_request_that_is_repeated_meanwhile_waits(asking: httpx2.Client, texts: Any) -> None:
    texts.gate.clear()
    with ThreadPoolExecutor(4) as pool:
        body = {"json": {"inputs": ["a"]}, "headers": {"Idempotency-Key": "k"}}
        asked = [pool.submit(asking.post, "/v1/classify", **body) for _ in range(4)]
        texts.entered.acquire()
        texts.gate.set()
        assert len({one.result().content for one in asked}) == 1
    assert len(texts.calls) == 1


def test_a_failure_of_the_model_says_and_logs_nothing_of_the_text(
    asking: httpx2.Client, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        failed = asking.post("/v1/classify?secret", json={"inputs": ["broken"]}, headers={"Idempotency-Key": "k"})
    assert failed.status_code == 500
    assert failed.json()["error"]["type"] == "server_error"
    logged = " ".join(record.getMessage() for record in caplog.records if not record.name.startswith("http"))
    assert "POST /v1/classify: RuntimeError in conftest.py" in logged
    assert "secret" not in logged + failed.text
    assert "broken" not in logged + failed.text
    again = asking.post("/v1/classify?secret", json={"inputs": ["broken"]}, headers={"Idempotency-Key": "k"})
    assert again.status_code == 500  # a failure is not kept as a reply


def test_what_the_model_cannot_read_is_the_requests_fault(asking: httpx2.Client) -> None:
    refused = asking.post("/v1/classify", json={"inputs": ["unreadable"]})
    assert refused.status_code == 400
    assert "the model reads 8" in refused.json()["error"]["message"]


def test_images_are_classified(serving: Any, fake_backend: Any, tmp_path: Any) -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (8, 8, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    encoded = base64.b64encode((tmp_path / "a.png").read_bytes()).decode()
    with serving(fake_backend) as where, httpx2.Client(base_url=where) as client:
        said = client.post("/v1/classify", json={"inputs": [encoded]}).json()
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
    assert np.float32(said["scores"]).tobytes() == scores.tobytes()
    assert chat["choices"][0]["message"]["content"] == ("red", "green", "blue")[int(scores.argmax())]


def test_the_model_is_described_and_named(asking: httpx2.Client) -> None:
    (model,) = asking.get("/v1/models").json()["data"]
    assert model["id"] == "fake-texts"
    assert model["label_words"] == ["fine", "bad", "odd"]
    assert model["max_batch"] == 4
    other = asking.post("/v1/classify", json={"inputs": ["a"], "model": "another"})
    assert other.status_code == 404
    assert other.json()["error"]["code"] == "model_not_found"


def test_metrics_say_what_was_asked(asking: httpx2.Client) -> None:
    asking.post("/v1/classify", json={"inputs": list("abcde")})
    asking.get("/nowhere")
    reply = asking.get("/metrics")
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


def test_metrics_come_in_the_format_that_is_asked_for(asking: httpx2.Client) -> None:
    reply = asking.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert reply.headers["content-type"].startswith("application/openmetrics-text")
    assert reply.text.endswith("# EOF\n")


def test_too_many_at_a_time_are_asked_to_come_again(serving: Any, texts: Any) -> None:
    texts.gate.clear()
    with (
        serving(texts, limits=RequestLimits(concurrency=1)) as where,
        httpx2.Client(base_url=where) as client,
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
    with serving(texts) as where:
        threading.Timer(0.4, texts.gate.set).start()
        assert httpx2.post(f"{where}/v1/classify", json={"inputs": ["a"]}).status_code == 200


def test_stopping_turns_away_what_waits_too_long(
    serving: Any, texts: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(server, "SHUTDOWN_TIMEOUT", 0.1)
    texts.gate.clear()
    with ThreadPoolExecutor(2) as pool:
        with serving(texts) as where:
            asked = [pool.submit(httpx2.post, f"{where}/v1/classify", json={"inputs": [name]}) for name in "ab"]
            with httpx2.Client(base_url=where) as client:
                _wait_until_in_flight(client, 2)
            threading.Timer(0.5, texts.gate.set).start()
        assert [one.result().status_code for one in asked] == [503, 503]
    assert "Traceback" not in caplog.text
    assert len(texts.calls) == 1
