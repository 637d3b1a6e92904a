"""The proxy that breaks what passes through it: each of its faults as a client meets it."""

import json
import math
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
from requests.exceptions import ChunkedEncodingError, ConnectionError

from fedbbpt.errors import UnknownName
from fedbbpt_benchmarks.experiments import fault_proxy
from fedbbpt_benchmarks.experiments.fault_proxy import KINDS, FaultProxy, without_a_score

Make = Callable[..., FaultProxy]


@pytest.fixture
def upstream(recording_server: Any) -> Any:
    """A server that answers with the request's own body."""
    recording_server.answer = lambda body: (201, {"X-Answer": "yes"}, body)
    return recording_server


@pytest.fixture
def proxy(upstream: Any) -> Iterator[Make]:
    """A running proxy before the server, in which every request meets the kinds, by default."""
    made: list[FaultProxy] = []

    def make(*kinds: str, rate: float = 1, seed: int = 1) -> FaultProxy:
        made.append(FaultProxy(f"{upstream.url}/base", rate, seed, kinds or KINDS).__enter__())
        return made[-1]

    yield make
    for one in made:
        one.__exit__()


def ask(proxy: FaultProxy, value: Any = None, timeout: float = 5) -> requests.Response:
    value = {"scores": [0.25, 0.75]} if value is None else value
    return requests.post(f"{proxy.url}/path?a=1", json=value, timeout=timeout, headers={"Idempotency-Key": "k"})


def test_without_faults_all_is_passed_on(upstream: Any, proxy: Make) -> None:
    running = proxy(rate=0)
    with requests.Session() as session:
        for _ in range(3):
            answer = session.post(f"{running.url}/path?a=1", json=[1], headers={"Authorization": "Bearer x"})
    assert (answer.status_code, answer.headers["X-Answer"], answer.json()) == (201, "yes", [1])
    assert upstream.paths == ["/base/path?a=1"] * 3
    assert upstream.headers[0]["Authorization"] == "Bearer x"
    assert running.counts == {"passed": 3}


def test_a_service_that_is_not_there(upstream: Any) -> None:
    with FaultProxy("http://127.0.0.1:9", 0, 1) as running:
        assert ask(running).status_code == 502


@pytest.mark.parametrize(("kind", "arrives"), [("drop", 0), ("lose", 1)])
def test_connections_close_without_an_answer(upstream: Any, proxy: Make, kind: str, arrives: int) -> None:
    running = proxy(kind)
    with pytest.raises(ConnectionError, match="without response"):
        ask(running)
    assert len(upstream.bodies) == arrives
    assert running.counts == {kind: 1}


def test_delay(upstream: Any, proxy: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fault_proxy, "LONGEST", 0.1)
    running, start = proxy("delay"), time.monotonic()
    assert ask(running).ok
    assert time.monotonic() - start >= 0.05
    assert running.counts == {"delay": 1}


def test_reset(upstream: Any, proxy: Make) -> None:
    running = proxy("reset")
    with pytest.raises((ConnectionError, ChunkedEncodingError), match="reset by peer"):
        ask(running)
    assert (len(upstream.bodies), running.counts) == (1, {"reset": 1})


def test_truncate(proxy: Make) -> None:
    running = proxy("truncate")
    with pytest.raises(ChunkedEncodingError, match=r"IncompleteRead\(\d+ bytes read, \d+ more expected"):
        ask(running)
    assert running.counts == {"truncate": 1}


def test_storm(upstream: Any, proxy: Make) -> None:
    running = proxy("storm", rate=0.2, seed=3)
    statuses = [ask(running).status_code for _ in range(40)]
    bursts = "".join("x" if status == 429 else " " for status in statuses).split()
    assert bursts
    assert all(len(burst) >= 3 for burst in bursts[:-1])
    assert running.counts == {"storm": statuses.count(429), "passed": statuses.count(201)}
    assert len(upstream.bodies) == statuses.count(201)


def test_storms_and_errors_say_what_to_do(upstream: Any, proxy: Make) -> None:
    turned_away = ask(proxy("storm"))
    assert (turned_away.status_code, turned_away.headers["Retry-After"]) == (429, "1")
    assert ask(proxy("error")).status_code == 500
    assert upstream.bodies == []


@pytest.mark.parametrize("value", [{"a": 1}, [1, 2], "text", 5])
def test_garble(proxy: Make, value: Any) -> None:
    answer = ask(proxy("garble"), value)
    assert answer.ok
    with pytest.raises(requests.JSONDecodeError):
        answer.json()


def test_nan(proxy: Make) -> None:
    running = proxy("nan")
    seen = [value for _ in range(20) for value in ask(running).json()["scores"] if value not in (0.25, 0.75)]
    assert len(seen) == 20
    assert seen.count(None) in range(1, 20)
    assert all(value is None or math.isnan(value) for value in seen)
    assert ask(running, {"tokens": 3}).json() == {"tokens": 3}
    assert running.counts == {"nan": 20, "passed": 1}


def test_only_scores_are_spoiled() -> None:
    answer = {
        "usage": {"total": 3},
        "choices": [{"index": 0, "logprobs": {"content": [{"logprob": -1.5, "bytes": [7], "token": "a"}]}}],
        "results": [{"scores": [[0, 1]], "scored": True}],
    }
    spoiled = {without_a_score(json.dumps(answer).encode(), n / 60) for n in range(60)}
    assert len(spoiled) == 6  # three numbers, each null or NaN
    for one in spoiled:
        assert one is not None
        assert json.loads(one)["usage"] == {"total": 3}
        assert b'"bytes": [7]' in one


def test_duplicate(upstream: Any, proxy: Make) -> None:
    running = proxy("duplicate")
    assert ask(running, {"a": 1}).json() == {"a": 1}
    assert upstream.bodies[0] == upstream.bodies[1]
    assert [headers["Idempotency-Key"] for headers in upstream.headers] == ["k", "k"]
    assert running.counts == {"duplicate": 1}


def test_reorder(upstream: Any, proxy: Make) -> None:
    running, back = proxy("reorder"), []

    def ask_for(value: int) -> int:
        answer: int = ask(running, value).json()
        back.append(value)
        return answer

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(ask_for, 1)
        while not running.counts["reorder"]:
            time.sleep(0.01)
        time.sleep(0.05)
        second = pool.submit(ask_for, 2)
    assert (first.result(), second.result()) == (1, 2)
    assert back == [2, 1]
    assert running.counts == {"reorder": 2}


def test_nobody_waits_for_ever(proxy: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fault_proxy, "HELD", 0.05)
    assert ask(proxy("reorder")).ok


def test_a_seed_decides_what_requests_meet(proxy: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SHORTEST", "LONGEST", "HELD", "BEHIND"):
        monkeypatch.setattr(fault_proxy, name, 0)

    def outcomes(seed: int) -> list[str]:
        running, seen = proxy(rate=0.6, seed=seed), []
        for i in range(60):
            try:
                answer = ask(running, {"i": i, "score": 0.5})
                seen.append(f"{answer.status_code} {answer.text}")
            except requests.RequestException as e:
                seen.append(type(e).__name__)
        assert sum(running.counts.values()) == 60
        assert set(running.counts) <= {*KINDS, "passed"}
        return seen

    first = outcomes(2)
    assert first == outcomes(2)
    assert first != outcomes(3)


def test_an_unknown_kind() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'garble'"):
        FaultProxy("http://127.0.0.1:9", 1, 1, ["garbel"])


def test_the_program_says_what_it_did(upstream: Any) -> None:
    background = ["sh", "-c", 'trap "" INT; exec "$@"', "sh"]  # where shells ignore Ctrl-C
    command = [
        *background,
        sys.executable,
        "-m",
        "fedbbpt_benchmarks.experiments.fault_proxy",
        "--to",
        upstream.url,
        "--port",
        "0",
    ]
    with subprocess.Popen([*command, "--rate", "1", "--kinds", "error"], stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        url = program.stdout.readline().split()[0]
        assert requests.post(url, json=[], timeout=5).status_code == 500
        program.send_signal(signal.SIGINT)
        assert program.stdout.read().split() == ["error", "1"]
    assert program.returncode == 0
