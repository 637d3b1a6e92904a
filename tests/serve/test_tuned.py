"""A tuned run behind the service: the bits of `predict`, its comparison, its pages and its limits."""

import base64
import io
import re
from collections.abc import Callable
from pathlib import Path

import httpx2
import numpy as np
import pytest
from PIL import Image

import fedbbpt
from fedbbpt.backend import Provider
from fedbbpt.serve import pages
from fedbbpt.tuned.inputs import as_inputs
from tests.tuned_runs import backends, image_run, pictures, text_run

pytestmark = pytest.mark.usefixtures("backends")

__all__ = ["backends", "image_run", "pictures", "text_run"]


@pytest.fixture
def served(serving: Callable) -> Callable:
    """`served(folder, token=, **limits)`: a context with the URL of the tuned run."""

    def begin(folder: Path, token: str | None = None, **limits: int):
        model = fedbbpt.load(folder, **limits)
        return serving(model.backend, Provider(model.classes), token=token, tuned=model.backend)

    return begin


def encoded(image: Image.Image) -> str:
    file = io.BytesIO()
    image.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def test_scores_have_the_bits_of_predict(served: Callable, image_run: Path, pictures) -> None:
    images, model = pictures[0][:20], fedbbpt.load(image_run)
    size, limit = model.backend.info.input_size, model.backend.info.max_batch
    here = [model.log_probabilities(as_inputs(images[i : i + limit], size)) for i in range(0, len(images), limit)]
    with served(image_run) as url:
        response = httpx2.post(f"{url}/v1/classify", json={"inputs": [encoded(one) for one in images]}).json()
        card = httpx2.get(f"{url}/v1/models").json()["data"][0]
    assert np.float32(response["scores"]).tobytes() == np.concatenate(here).tobytes()
    assert response["classes"] == list(model.classes) == card["classes"]
    assert response["score_type"] == "log-probabilities"
    assert card["id"] == response["model"] == "colours:data"
    np.testing.assert_array_equal(np.concatenate(here).argmax(1), model.predict_proba(images).argmax(1))


def test_a_chat_answers_with_a_class(served: Callable, text_run: Path) -> None:
    with served(text_run) as url:
        body = {"messages": [{"role": "user", "content": "what a fine film"}]}
        answer = httpx2.post(f"{url}/v1/chat/completions", json=body).json()
    assert answer["choices"][0]["message"]["content"] == "fine"


def test_a_picture_is_compared_before_and_after(served: Callable, image_run: Path, pictures) -> None:
    model, image = fedbbpt.load(image_run), pictures[0][0]
    floats = as_inputs([image], (8, 8)).astype(np.float32) / np.float32(255)
    with served(image_run) as url:
        found = httpx2.post(f"{url}/v1/compare", json={"inputs": [encoded(image)]}).json()["comparisons"][0]
    for name, scores in (("before", model.backend.untuned(floats)), ("after", model.backend.query(floats))):
        np.testing.assert_allclose(list(found[name].values()), np.exp(scores.scores[0]), rtol=1e-5)
        assert list(found[name]) == list(model.classes)
    kind, _, content = found["prompted"].partition(",")
    assert kind == "data:image/png;base64"
    seen = np.asarray(Image.open(io.BytesIO(base64.b64decode(content)))).transpose(2, 0, 1)
    assert np.abs(seen - 255 * model.backend.prompted(floats)[0, 0]).max() <= 0.5


def test_a_text_is_compared_and_only_sixteen_at_a_time(served: Callable, text_run: Path) -> None:
    with served(text_run) as url:
        found = httpx2.post(f"{url}/v1/compare", json={"inputs": ["dull dull", "fine"]}).json()["comparisons"]
        assert [max(one["after"], key=one["after"].get) for one in found] == ["dull", "fine"]
        assert found[1]["prompted"].endswith("fine")
        assert httpx2.post(f"{url}/v1/compare", json={"inputs": ["x"] * 17}).status_code == 400


def test_a_limit_is_an_answer(served: Callable, text_run: Path) -> None:
    with served(text_run, max_queries=2) as url:
        assert httpx2.post(f"{url}/v1/classify", json={"inputs": ["a", "b"]}).status_code == 200
        refused = httpx2.post(f"{url}/v1/classify", json={"inputs": ["c"]})
    assert refused.status_code == 429
    assert refused.json()["error"]["code"] == "insufficient_quota"
    assert "max_queries=2" in refused.json()["error"]["message"]


def test_pages_load_nothing_else_and_need_no_token(served: Callable, text_run: Path, serving: Callable, texts) -> None:
    with served(text_run, token="secret") as url:
        for path in ("/", "/docs"):
            page = httpx2.get(url + path)
            assert page.status_code == 200
            assert page.headers["content-type"].startswith("text/html")
            assert "default-src 'none'" in page.headers["content-security-policy"]
            assert not re.search(r"(?:src|href)=\"(?:https?:)?//", page.text)
            assert "fine" not in page.text  # nothing of the model
        assert httpx2.get(f"{url}/v1/models").status_code == 401
    with serving(texts) as url:  # a model as it is
        assert httpx2.get(f"{url}/").status_code == 404
        assert httpx2.post(f"{url}/v1/compare", json={"inputs": ["a"]}).status_code == 404
        assert "/v1/classify" in httpx2.get(f"{url}/docs").text


def test_the_own_page_may_ask_and_others_may_not(served: Callable, text_run: Path) -> None:
    body = {"inputs": ["fine"]}
    with served(text_run) as url:
        own = {"Origin": url, "Sec-Fetch-Site": "same-origin"}
        assert httpx2.post(f"{url}/v1/compare", json=body, headers=own).status_code == 200
        for headers in (
            {"Origin": "http://127.0.0.1:1", "Sec-Fetch-Site": "same-site"},
            {"Origin": "null"},
            {"Origin": "https://example.org"},
            {"Sec-Fetch-Site": "cross-site"},
        ):
            assert httpx2.post(f"{url}/v1/compare", json=body, headers=headers).status_code == 403


def test_each_inline_script_and_style_is_allowed_by_its_hash() -> None:
    page = pages.page_of("try")
    assert page.policy.count("'sha256-") == page.content.count("<script>") + page.content.count("<style>") == 2
