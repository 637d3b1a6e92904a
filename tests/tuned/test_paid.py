"""A tuned model behind a service: what is paid, what is not paid twice, and a limit that holds."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import fedbbpt
from fedbbpt import registry
from fedbbpt.backend import Backend, BackendInfo, BackendOutput
from fedbbpt.errors import BackendError, BudgetError
from fedbbpt.services import RequestRejected, ServiceAnswer, TokenEstimate
from fedbbpt.services.client import ServiceClient
from fedbbpt.services.prices import Price
from fedbbpt.tuned.export import export

CLASSES = ("dull", "fine")


class Critic:
    """A service that scores one text a request; it refuses "secret", and may change its mind."""

    identity = {"name": "critic"}  # noqa: RUF012 - as a service has it
    max_inputs_per_request = 1
    asked: list[str] = []  # noqa: RUF012 - by all
    sign = 1

    def encode(self, one):
        return str(one)

    def estimate_tokens(self, encoded):
        return TokenEstimate(len(encoded), 1, len(encoded))

    def send(self, encoded, key):
        self.asked.extend(encoded)
        if "secret" in encoded:
            raise RequestRejected("it is a secret")
        scores = [self.sign * (text.count("fine") - text.count("dull")) + 0.1 * len(text) / 100 for text in encoded]
        return [ServiceAnswer(np.array([-s, s], np.float32), 10, 1) for s in scores]


class Charged(Backend):
    """The critic, as a backend."""

    modalities = ("text",)

    def __init__(self, provider, /):
        self.service_client = ServiceClient(Critic(), width=2, concurrency=1, price=Price(1.0, 2.0))
        self.info = BackendInfo(
            "critic", None, CLASSES, "logits", self.service_client.max_batch, max_inputs_per_request=1
        )

    def query(self, inputs) -> BackendOutput:
        return self.service_client.query(inputs)


@pytest.fixture(autouse=True)
def charged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDBBPT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(registry._registered, ("backends", "charged"), Charged)
    monkeypatch.setattr(Critic, "asked", [])


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run without rounds, which has paid for its test data."""
    texts = [f"a {mood} day no {i}" for i in range(40) for mood in CLASSES]
    labels = [text.split()[1] for text in texts]
    own = {"task": {"provider_shots_per_class": 0}, "prompt": "none", "readout": "identity"}
    out = tmp_path / "run"
    trained = fedbbpt.train(
        texts=texts, labels=labels, backend="charged", rounds=0, clients=2, out=out, progress=False, **own
    )
    return trained.folder


def test_what_is_known_is_free_and_a_limit_holds(run: Path) -> None:
    before = len(Critic.asked)
    model = fedbbpt.load(run, max_requests=2)
    assert model.predict(["so fine", "so dull"]) == ["fine", "dull"]
    assert model.billed.requests == 2
    assert len(Critic.asked) == before + 2
    with pytest.raises(BudgetError, match="max_requests=2"):
        model.predict("another text")
    assert model.predict("so fine") == "fine"  # its answer is stored
    again = fedbbpt.load(run, max_cost=1e-9)
    assert again.predict(["so dull", "so fine"]) == ["dull", "fine"]
    assert (again.billed.requests, again.queries) == (0, 2)
    assert len(Critic.asked) == before + 2


def test_what_the_service_refuses_has_no_answer(run: Path, in_process: Callable, tmp_path: Path) -> None:
    model = fedbbpt.load(run)
    assert model.predict(["fine", "secret", "dull"]) == ["fine", None, "dull"]
    with pytest.raises(RequestRejected, match="did not answer 1 of 2 inputs: it is a secret"):
        model.check_answered(model.predict_proba(["secret", "fine"]))
    (tmp_path / "new.jsonl").write_text('{"text": "fine"}\n{"text": "secret"}\n')
    done = in_process("predict", run, tmp_path / "new.jsonl", "--text-column", "text")
    assert done.returncode == 1
    assert done.stdout.count("\n") == 1
    assert "row 2 (line 2), or has refused that before\n" in done.stderr
    assert "billed: " in done.stderr


def test_canaries_are_asked_anew(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert export(run, tmp_path / "exported").billed.requests == 8
    before = len(Critic.asked)
    assert fedbbpt.load(tmp_path / "exported").billed.requests == 8  # stored answers would say nothing of today
    assert len(Critic.asked) == before + 8
    fedbbpt.load(tmp_path / "exported", check=False, max_requests=1).predict("fine")
    with pytest.raises(BudgetError, match="max_requests=3"):
        fedbbpt.load(tmp_path / "exported", max_requests=3)
    monkeypatch.setattr(Critic, "sign", -30)
    monkeypatch.setattr(Critic, "send", lambda service, encoded, key: [ServiceAnswer(np.float32([5, 0]), 10, 1)])
    with pytest.raises(BackendError, match="no longer answers as it did"):
        fedbbpt.load(tmp_path / "exported")
