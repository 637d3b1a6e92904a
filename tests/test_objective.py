import dataclasses

import numpy as np
import pytest

from fedbbpt.backend import Meter
from fedbbpt.objective import PromptedModel
from fedbbpt.prompts.coordinator import Coordinator
from fedbbpt.prompts.dct import Dct
from fedbbpt.prompts.none import NoPrompt
from fedbbpt.readouts.identity import Identity
from fedbbpt.types import Usage

SIZE = (8, 8)


def make(backend, prompt=None):
    readout = Identity(backend.info, backend.info.classes)
    return PromptedModel(backend.info, prompt or Dct(SIZE, frequencies=2), readout).on(backend)


def candidates(objective, count, prompts=1):
    return np.random.default_rng(0).normal(size=(count, prompts * objective.prompt.dim))


def split(losses):
    """Scores (n, b, 1, 2) of two classes with the given losses (n, b) for label 0; NaN for a failed query."""
    p = np.exp(-np.array(losses, np.float64))
    return np.stack([np.log(p), np.log(1 - p)], -1)[:, :, None].astype(np.float32)


@pytest.fixture
def losses(make_backend):
    """Losses (n,) that the objective makes of single losses (n, b)."""
    objective = make(make_backend(classes=("yes", "no")))
    return lambda table: objective.losses(np.zeros(0), split(table), np.zeros(len(table[0]), np.int64))


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 7, 10, 34, 35, 100])
@pytest.mark.parametrize("prompts", [1, 3])
@pytest.mark.parametrize(("n", "b"), [(1, 1), (5, 1), (1, 7), (5, 7)])
def test_calls_stay_within_the_limit_and_are_those_foretold(make_backend, make_data, n, b, prompts, limit):
    backend = make_backend(max_batch=limit)
    objective = make(backend)
    scores = objective.answers(candidates(objective, n, prompts), make_data(b).batch(slice(None)))
    assert scores.shape == (n, b, prompts, 3)
    assert scores.dtype == np.float32
    assert max(backend.calls) <= limit
    foretold = objective.usage(n * prompts, b)
    assert foretold == Usage(n * prompts * b, len(backend.calls)) == Usage(sum(backend.calls), len(backend.calls))


@pytest.mark.parametrize(
    ("n", "b", "limit", "requests"),
    [(8, 4, 16, 2), (8, 4, 15, 3), (2, 5, 4, 3), (3, 16, 16, 3), (3, 7, 5, 5), (1, 0, 5, 0)],
)
def test_as_few_requests_as_the_limit_allows(make_backend, n, b, limit, requests):
    assert make(make_backend(max_batch=limit)).usage(n, b) == Usage(n * b, requests)


def test_nothing_to_ask_costs_nothing(make_backend):
    assert make(make_backend(max_batch=16)).usage(4, 0) == Usage(0, 0)


def test_calls_are_requests_where_one_query_sends_several(make_backend, make_data):
    backend = make_backend(max_batch=12)
    backend.info = dataclasses.replace(backend.info, max_inputs_per_request=4)
    meter = Meter(backend)
    objective = make(meter)
    objective.answers(candidates(objective, 5), make_data(3).batch(slice(None)))
    assert backend.calls == [12, 3]
    assert meter.usage == objective.usage(5, 3) == Usage(15, 4)


@pytest.mark.parametrize("prompts", [1, 2])
@pytest.mark.parametrize("limit", [1, 2, 3, 6, 11])
def test_answers_do_not_depend_on_the_limit(make_backend, make_data, limit, prompts):
    whole, pieces = make(make_backend(max_batch=1000)), make(make_backend(max_batch=limit))
    batch = make_data(6).batch(slice(None))
    expected = whole.answers(candidates(whole, 4, prompts), batch)
    assert np.array_equal(pieces.answers(candidates(whole, 4, prompts), batch), expected)


def test_every_candidate_meets_every_example(fake_backend, make_data):
    objective, batch = make(fake_backend), make_data(6).batch(slice(None))
    thetas = candidates(objective, 4)
    scores = objective.answers(thetas, batch)
    for i in range(4):
        for j in range(6):
            image = objective.prompt.apply(thetas[i : i + 1], batch.inputs[j : j + 1], None)
            assert np.array_equal(scores[i, j, 0], fake_backend.query(image).scores[0])


@pytest.mark.parametrize("limit", [2, 1000])
def test_every_image_is_prompted_with_its_own_features(make_backend, make_data, limit):
    objective = make(make_backend(max_batch=limit), Coordinator(SIZE, encoder="pixels"))
    batch = make_data(3).batch(slice(None))
    batch = batch._replace(features=objective.prompt.features(batch.inputs))
    thetas = np.stack([objective.prompt.init(np.random.default_rng(i)) for i in range(4)]).reshape(2, -1)  # two prompts
    scores = objective.answers(thetas, batch)
    for j in range(3):
        alone = batch._replace(
            inputs=batch.inputs[j : j + 1], labels=batch.labels[j : j + 1], features=batch.features[j : j + 1]
        )
        assert np.allclose(objective.answers(thetas, alone)[:, 0], scores[:, j], atol=1e-5)


@pytest.mark.parametrize("limit", [2, 8, 1000])
def test_prompts_are_answered_as_if_they_were_asked_singly(make_backend, make_data, limit):
    objective, batch = make(make_backend(max_batch=limit)), make_data(6).batch(slice(None))
    one, other = np.random.default_rng(0).normal(size=(2, 4, objective.prompt.dim))
    scores = objective.answers(np.concatenate([one, other], axis=1), batch)
    assert np.array_equal(scores[:, :, :1], objective.answers(one, batch))
    assert np.array_equal(scores[:, :, 1:], objective.answers(other, batch))
    assert not np.allclose(scores[:, :, 0], scores[:, :, 1])


def test_parameters_fall_apart_into_those_of_the_prompts(fake_backend):
    objective = make(fake_backend)
    d = objective.prompt.dim
    assert np.array_equal(objective.split_prompts(np.arange(3 * d)), np.arange(3 * d).reshape(3, d))
    assert objective.split_prompts(candidates(objective, 4, 2)).shape == (4, 2, d)


def test_no_prompt_counts_as_one(fake_backend):
    objective = make(fake_backend, NoPrompt(SIZE))
    assert objective.split_prompts(np.zeros(0)).shape == (1, 0)
    assert objective.split_prompts(np.zeros((4, 0))).shape == (4, 1, 0)


def test_loss_is_the_mean_cross_entropy(losses):
    assert np.allclose(losses([[1.0, 2.0, 6.0], [3.0, 3.0, 3.0]]), [3, 3], atol=1e-5)


def test_candidate_without_any_answer_has_no_loss(losses):
    assert np.allclose(losses([[1.0, 2.0], [np.nan, np.nan]]), [1.5, np.nan], atol=1e-5, equal_nan=True)


def test_candidates_are_compared_on_what_all_of_them_answered(losses):
    table = [[1.0, 2.0, 9.0], [1.0, np.nan, 3.0], [np.nan, np.nan, np.nan]]
    assert np.allclose(losses(table), [5, 2, np.nan], atol=1e-5, equal_nan=True)


def test_without_common_answers_there_is_no_loss(losses):
    assert np.isnan(losses([[1.0, np.nan], [np.nan, 1.0]])).all()


def test_example_counts_if_it_was_answered_under_every_prompt(make_backend):
    objective, table = make(make_backend(classes=("yes", "no"))), np.array([[1.0, 2.0, 6.0]])
    scores = np.concatenate([split(table), split(table)], axis=2)
    scores[0, 1, 1] = np.nan
    assert np.allclose(objective.losses(np.zeros(0), scores, np.zeros(3, np.int64)), [3.5], atol=1e-5)


def test_losses_use_the_readouts_weights_and_ask_nothing(fake_backend, make_data):
    objective, batch = make(fake_backend, NoPrompt(SIZE)), make_data(5).batch(slice(None))
    scores = objective.answers(np.zeros((1, 0)), batch)
    calls = len(fake_backend.calls)
    assert objective.losses(np.zeros(0), scores, batch.labels).shape == (1,)
    assert len(fake_backend.calls) == calls
