"""Which inputs share a batch, and who gets which part of its output."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import ExitStack, closing
from typing import Any

import numpy as np
import pytest

from fedbbpt.backend import BackendOutput
from fedbbpt.data.texts import as_texts
from fedbbpt.serve.batching import Batcher, ModelQuery, model_thread


@pytest.fixture
def seen() -> list[Any]:
    return []


@pytest.fixture
def thread() -> Iterator[Executor]:
    with model_thread() as one:
        yield one


@pytest.fixture
def opened(thread: Executor, texts: Any) -> Iterator[Callable[..., Batcher]]:
    """Opens batchers, which are closed however a test ends."""
    with ExitStack() as stack:

        def one(window: float, limit: int = 4, on_batch: Callable[..., None] = lambda *_: None) -> Batcher:
            return stack.enter_context(closing(Batcher(thread, limit, on_batch, window)))

        yield one
        texts.gate.set()


@pytest.fixture
def batcher(opened: Callable[..., Batcher], seen: list[Any]) -> Batcher:
    window = 0.2  # a busy machine may pause
    return opened(window, on_batch=lambda size, seconds, answers: seen.append((size, answers.tokens)))


def _as_it_is(inputs: Any) -> Any:
    return inputs


def _asked(function: Any) -> ModelQuery:
    return ModelQuery(_as_it_is, function)


def _submit(batcher: Batcher, texts: Any, *names: str) -> Any:
    return batcher.submit(_asked(texts.query), as_texts(names))


def test_a_request_alone_gets_the_batches_of_its_own_process(batcher: Batcher, texts: Any) -> None:
    names = as_texts(list("abcdefghi"))
    parts = [future.result() for future in batcher.submit(_asked(texts.query), names)]
    assert texts.batches == [list("abcd"), list("efgh"), ["i"]]
    alone = np.concatenate([texts.query(names[i : i + 4]).scores for i in (0, 4, 8)])
    assert np.concatenate([part.scores for part in parts]).tobytes() == alone.tobytes()


def test_requests_share_a_batch_in_order_of_arrival(batcher: Batcher, texts: Any) -> None:
    futures = [_submit(batcher, texts, *names) for names in (("a",), ("b", "c"), ("d",), ("e",))]
    results = [[future.result() for future in one] for one in futures]
    assert texts.batches == [["a", "b", "c", "d"], ["e"]]
    together = texts.query(as_texts(list("abcd"))).scores
    assert results[1][0].scores.tobytes() == together[1:3].tobytes()


def test_a_request_that_fits_into_a_batch_is_not_split(batcher: Batcher, texts: Any) -> None:
    for one in [_submit(batcher, texts, *names) for names in (("a", "b"), ("c", "d", "e"), ("f",))]:
        one[0].result()
    assert texts.batches == [["a", "b"], ["c", "d", "e", "f"]]


def test_the_rest_of_a_large_request_shares_a_batch(batcher: Batcher, texts: Any) -> None:
    large, small = _submit(batcher, texts, *"abcdef"), _submit(batcher, texts, "g")
    for future in [*large, *small]:
        future.result()
    assert texts.batches == [list("abcd"), ["e", "f", "g"]]


def test_a_full_batch_does_not_wait_for_the_window(opened: Callable[..., Batcher], texts: Any) -> None:
    batcher = opened(window=60)
    start = time.monotonic()
    _submit(batcher, texts, *"abcd")[0].result(10)
    assert time.monotonic() - start < 10


def test_requests_that_arrive_while_the_model_is_busy_share_a_batch(opened: Callable[..., Batcher], texts: Any) -> None:
    batcher = opened(window=0)
    texts.gate.clear()
    first = _submit(batcher, texts, "a")
    texts.entered.acquire()
    later = [_submit(batcher, texts, name) for name in "bcd"]
    texts.gate.set()
    for one in [first, *later]:
        one[0].result()
    assert texts.batches == [["a"], ["b", "c", "d"]]


def test_other_functions_get_other_batches(batcher: Batcher, texts: Any) -> None:
    features = texts.features

    def embed(inputs: Any) -> Any:
        return texts.query(inputs)._replace(scores=features(inputs))

    submitted = [(texts.query, "a"), (embed, "b"), (texts.query, "c"), (texts.query, "d")]
    results = [batcher.submit(_asked(function), as_texts([name]))[0] for function, name in submitted]
    assert [future.result().scores.shape[1] for future in results] == [3, 5, 3, 3]
    assert texts.batches == [["a"], ["b"], ["c", "d"]]


def test_a_failure_reaches_only_the_requests_that_fail_alone(batcher: Batcher, texts: Any, seen: list[Any]) -> None:
    bad, good = _submit(batcher, texts, "broken"), _submit(batcher, texts, "a")
    later = _submit(batcher, texts, *"bcd")
    with pytest.raises(RuntimeError):
        bad[0].result()
    assert np.isfinite(good[0].result().scores).all()
    assert np.isfinite(later[0].result().scores).all()
    assert sum(size for size, _ in seen) == 4  # each answered input is counted once


@pytest.mark.parametrize("nonsense", [None, 1, BackendOutput(None)])  # type: ignore[arg-type]
def test_a_malformed_output_does_not_end_the_thread(batcher: Batcher, texts: Any, nonsense: Any) -> None:
    bad = batcher.submit(_asked(lambda _: nonsense), as_texts(["a"]))
    with pytest.raises((AttributeError, ValueError, TypeError)):
        bad[0].result(10)
    assert np.isfinite(_submit(batcher, texts, "b")[0].result(10).scores).all()


def test_an_unanswered_query_is_a_row_of_nan_in_its_own_request(batcher: Batcher, texts: Any) -> None:
    lost, good = _submit(batcher, texts, "a", "lost"), _submit(batcher, texts, "b")
    assert np.isnan(lost[0].result().scores).all(1).tolist() == [False, True]
    assert np.isfinite(good[0].result().scores).all()
    assert len(texts.batches) == 1


def test_tokens_of_a_shared_batch_are_split_by_length(batcher: Batcher, texts: Any, seen: list[Any]) -> None:
    parts = [_submit(batcher, texts, *names)[0] for names in (("a",), ("bbb", "ccccc"), ("d",))]
    answers = [part.result() for part in parts]
    assert seen == [(4, 10)]
    assert sum(part.tokens for part in answers) == 10
    assert sum(part.output_tokens for part in answers) == 4
    assert max(answers, key=lambda part: part.tokens) is answers[1]
    assert all(part.output_tokens <= part.tokens for part in answers)


def test_a_cancelled_request_is_not_queried(opened: Callable[..., Batcher], texts: Any) -> None:
    batcher = opened(window=0)
    texts.gate.clear()
    first = _submit(batcher, texts, "a")
    texts.entered.acquire()
    dropped, kept = _submit(batcher, texts, "b"), _submit(batcher, texts, "c")
    assert dropped[0].cancel()
    texts.gate.set()
    batcher.close()
    assert first[0].done()
    assert kept[0].done()
    assert texts.batches == [["a"], ["c"]]


def test_close_answers_waiting_requests_and_frees_the_thread(
    opened: Callable[..., Batcher], thread: Executor, texts: Any
) -> None:
    batcher = opened(window=60)
    futures = _submit(batcher, texts, "a")
    batcher.close()
    assert futures[0].done()
    assert thread.submit(lambda: "free").result(10) == "free"


class TestPreparing:
    """Queries of two steps."""

    @pytest.fixture
    def prepared(self) -> list[Any]:
        return []

    @pytest.fixture
    def shouted(self, texts: Any, prepared: list[Any]) -> ModelQuery:
        def shout(inputs: Any) -> Any:
            if "broken" in inputs:
                raise RuntimeError
            prepared.append(list(inputs))
            return as_texts([one.upper() for one in inputs])

        return ModelQuery(shout, texts.query)

    @pytest.fixture
    def patient(self, opened: Callable[..., Batcher]) -> Batcher:
        return opened(window=60, limit=2)

    def test_the_first_step_is_done_while_the_batch_waits(
        self, patient: Batcher, texts: Any, shouted: ModelQuery, prepared: list[Any]
    ) -> None:
        first = patient.submit(shouted, as_texts(["a"]))[0]
        deadline = time.monotonic() + 10
        while not prepared and time.monotonic() < deadline:
            time.sleep(0.001)
        assert prepared == [["a"]]
        assert not texts.batches  # it still waits
        second = patient.submit(shouted, as_texts(["b"]))[0]
        both = np.concatenate([one.result(10).scores for one in (first, second)])
        assert prepared == [["a"], ["b"]]  # each once
        assert texts.batches == [["A", "B"]]
        assert both.tobytes() == texts.query(as_texts(["A", "B"])).scores.tobytes()

    def test_what_cannot_be_prepared_fails_alone(self, batcher: Batcher, texts: Any, shouted: ModelQuery) -> None:
        bad, good = (batcher.submit(shouted, as_texts([name]))[0] for name in ("broken", "a"))
        with pytest.raises(RuntimeError):
            bad.result(10)
        assert np.isfinite(good.result(10).scores).all()
        assert texts.batches == [["A"]]
