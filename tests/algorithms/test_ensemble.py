"""Several prompts, chosen one by one: what is asked, what is kept, and what becomes of it."""

from collections import Counter
from dataclasses import replace
from functools import partial
from itertools import pairwise

import numpy as np
import pytest

from fedbbpt.algorithms import Parts
from fedbbpt.algorithms.greedy import Greedy
from fedbbpt.engines.serial import Serial
from fedbbpt.errors import ConfigError
from fedbbpt.objective import Objective
from fedbbpt.optim.random_search import RandomSearch
from fedbbpt.prompts.dct import Dct
from fedbbpt.prompts.none import NoPrompt
from fedbbpt.readouts.identity import Identity
from fedbbpt.readouts.linear import LinearReadout
from fedbbpt.readouts.prototypes import Prototypes
from fedbbpt.run.checkpoint import Best, Progress, Totals, load_last, save
from fedbbpt.run.client_pool import CountedExchange
from fedbbpt.run.metrics import Mark
from fedbbpt.types import Client

PROMPT = Dct((8, 8), frequencies=2)
OTHERS = ("one", "two", "three")  # classes that the model does not know by name


@pytest.fixture
def greedy(make):
    """`greedy(backend, population, **options)`: the method over random search."""
    return lambda backend, population=5, **options: make(
        backend,
        Greedy,
        prompt=PROMPT,
        optimizer=partial(RandomSearch, sigma=2.0, population_size=population),
        **options,
    )


def views_of(state):
    return state.parameters["prompt"].reshape(-1, PROMPT.dim)


def asked_again(backend, theta, client):
    """The scores of a client's training data under one prompt."""
    objective = Objective(backend, PROMPT, LinearReadout(backend.info, backend.info.classes))
    return objective.answers(theta[None], client.train.batch(slice(None)))[0, :, 0]


class Recording(CountedExchange):
    """Keeps the messages, what they are for, and the replies."""

    def __init__(self, clients):
        super().__init__(Serial(), clients)
        self.heard = []

    def __call__(self, work, message):
        replies = super().__call__(work, message)
        self.heard.append((work.__name__, message, replies))
        return replies


@pytest.mark.parametrize("limit", [2, 4])
def test_views_grow_one_a_round_up_to_the_limit(greedy, rounds, fake_backend, clients, limit):
    algorithm = greedy(fake_backend, views=limit)
    states, _ = rounds(algorithm, clients, 6)
    counts = [len(views_of(state)) for state in states]
    assert counts == [min(1 + done, limit) for done in range(7)]
    assert counts == [algorithm.views(done) for done in range(7)]
    assert [len(state.parameters["readout"]) for state in states] == [3 * (3 * count + 1) for count in counts]


def test_the_first_view_is_the_prompts_start_and_the_others_stay_while_views_are_added(
    greedy, rounds, fake_backend, clients
):
    states, _ = rounds(greedy(fake_backend, views=5), clients, 4)
    assert not views_of(states[0]).any()
    for before, after in pairwise(states):
        assert np.array_equal(views_of(after)[:-1], views_of(before))
    assert len({view.tobytes() for view in views_of(states[-1])}) == 5


def test_then_one_slot_after_the_other_is_offered_for_replacement(greedy, rounds, fake_backend, clients):
    states, _ = rounds(greedy(fake_backend, views=3, population=30), clients, 11)
    replaced = set()
    for before, after in pairwise(states[2:]):  # the rounds that start with all views
        changed = set(np.flatnonzero((views_of(before) != views_of(after)).any(1)))
        assert changed <= {(after.round - 1) % 3}
        replaced |= changed
    assert replaced == {0, 1, 2}


def test_candidates_for_a_slot_lie_around_its_view_and_come_closer(greedy, rounds, fake_backend, clients):
    algorithm = greedy(fake_backend, views=2, population=200)
    states, _ = rounds(algorithm, clients, 5)
    sizes = []
    for state in states:
        views, slot = views_of(state), (state.round % 2 if len(views_of(state)) == 2 else None)
        centre = np.zeros(PROMPT.dim) if slot is None else views[slot]
        sizes.append((algorithm._candidates(algorithm.broadcast(state)) - centre).std())
    expected = [2, 2 / np.sqrt(2), 2 / np.sqrt(2), 2 / np.sqrt(3), 2 / np.sqrt(3), 2 / np.sqrt(4)]
    assert sizes == pytest.approx(expected, rel=0.05)


def test_the_only_view_may_be_replaced(greedy, rounds, fake_backend, clients):
    states, losses = rounds(greedy(fake_backend, views=1), clients, 4)
    assert [views_of(state).shape for state in states] == [(1, PROMPT.dim)] * 5
    assert views_of(states[-1]).any()
    assert np.isfinite(losses).all()


def test_answers_that_clients_keep_are_those_of_the_chosen_prompts(greedy, rounds, fake_backend, clients):
    states, _ = rounds(greedy(fake_backend, views=3), clients, 7)
    for state in states[1:]:
        assert set(state.memory) == {client.id for client in clients}
        for client in clients:
            again = [asked_again(fake_backend, theta, client) for theta in views_of(state)]
            np.testing.assert_allclose(state.memory[client.id], again, atol=1e-5)


def test_the_training_loss_hardly_rises_while_views_are_added(greedy, rounds, fake_backend, clients):
    _, losses = rounds(greedy(fake_backend, views=8), clients, 7)
    assert (np.diff(losses) < 0.02).all()  # it is minimised together with the decay
    assert losses[-1] < losses[0]


def test_the_loss_is_that_of_the_new_parameters_on_the_training_data(greedy, rounds, fake_backend, clients):
    algorithm = greedy(fake_backend, views=3)
    states, losses = rounds(algorithm, clients, 5)
    for state, loss in zip(states[1:], losses, strict=True):
        message = algorithm.broadcast(state)
        total = sum(algorithm.score("train", message, client).loss_sum for client in clients)
        assert loss == pytest.approx(total / sum(len(client.train) for client in clients), abs=1e-4)


def test_the_head_is_fitted_to_all_answers_to_the_views(greedy, rounds, fake_backend, clients):
    states, losses = rounds(greedy(fake_backend, views=3), clients, 5)
    head = LinearReadout(fake_backend.info, fake_backend.info.classes)
    labels = np.concatenate([client.train.labels for client in clients])
    for state, loss in zip(states[1:], losses, strict=True):
        scores = np.concatenate([state.memory[client.id] for client in clients], 1).swapaxes(0, 1)
        weights = head.fit(
            head.init(scores.shape[1]), lambda w, scores=scores: head.statistics(w, head.fit_data(scores, labels))
        )
        count, total = head.statistics(weights, head.fit_data(scores, labels))[:2]
        assert loss == pytest.approx(total / count, abs=1e-3)


def test_the_candidate_that_explains_most_of_the_errors_is_chosen(greedy, rounds, fake_backend, clients):
    """|residualᵀ s|² / |s|² over all data, with the residual of a head that is fitted to the views so far."""
    algorithm = greedy(fake_backend, views=4, population=12)
    states, _ = rounds(algorithm, clients, 3)
    labels = np.concatenate([client.train.labels for client in clients])
    head = LinearReadout(fake_backend.info, fake_backend.info.classes)

    def scores_under(views):
        asked = [[asked_again(fake_backend, theta, client) for client in clients] for theta in views]
        return np.stack([np.concatenate(scores) for scores in asked], 1)  # (N, views, C)

    for before, after in pairwise(states):
        candidates = algorithm._candidates(algorithm.broadcast(before)).astype(np.float32)
        kept, more = scores_under(views_of(before)), scores_under(candidates)
        weights = head.fit(
            head.init(kept.shape[1]), lambda w, kept=kept: head.statistics(w, head.fit_data(kept, labels))
        )
        residual = np.exp(head.log_probabilities(weights, kept)) - np.eye(3)[labels]
        features = (more - more.mean(-1, keepdims=True)) / np.sqrt(3)
        gains = [((residual.T @ s) ** 2).sum() / (s**2).sum() for s in features.swapaxes(0, 1)]
        assert np.array_equal(views_of(after)[-1], candidates[np.argmax(gains)])
        assert np.sort(gains)[-1] > 1.001 * np.sort(gains)[-2]  # no tie that the last bit decides


def test_candidates_are_the_same_for_all_clients(greedy, make_backend, clients):
    twins = [clients[1], replace(clients[1], id="twin")]
    backend = make_backend()
    algorithm = greedy(backend)
    algorithm.round(algorithm.init(), Recording(twins))
    first, second = np.split(np.array(backend.seen)[2 * len(twins[0].train) :], 2)  # behind the answers to the start
    assert first.tolist() == second.tolist()


def test_other_rounds_and_seeds_try_other_candidates(greedy, fake_backend):
    def tried(seed, round_):
        algorithm = greedy(fake_backend, seed=seed)
        return algorithm._candidates(algorithm.broadcast(replace(algorithm.init(), round=round_))).tobytes()

    assert len({tried(seed, round_) for seed in (1, 2) for round_ in (0, 1, 2)}) == 6


def test_no_picture_is_asked_about_twice_under_the_same_prompt(greedy, rounds, make_backend, make_client):
    backend, clients = make_backend(), [make_client(f"client-{i:03d}", 6, i) for i in range(3)]
    rounds(greedy(backend, views=3), clients, 7)
    assert len(backend.seen) == 18 * (1 + 7 * 5)
    assert Counter(backend.seen).most_common(1)[0][1] == 1


def test_a_candidate_that_the_model_never_answers_is_never_chosen(greedy, rounds, make_backend, fake_backend, clients):
    (_, state), _ = rounds(greedy(fake_backend, views=2), clients, 1)
    best = views_of(state)[1]
    inputs = np.concatenate([client.train.batch(slice(None)).inputs for client in clients])
    pictures, asked = PROMPT.apply(best[None], inputs, None), []

    def fails(inputs):
        wrong = np.abs(inputs[:, None] - pictures).max((2, 3, 4)).min(1) < 1e-5
        asked.extend(wrong)
        return wrong

    (_, other), _ = rounds(greedy(make_backend(fails=fails), views=2), clients, 1)
    assert sum(asked) == len(pictures)
    assert not np.array_equal(views_of(other)[1], best)
    assert np.isfinite(other.parameters["readout"]).all()


@pytest.fixture
def white(clients):
    """A client with one white picture."""
    train = clients[2].train.take(np.arange(1))
    train = replace(train, inputs=np.full_like(train.inputs, 255))
    return Client("white", train, clients[2].validation, clients[2].test)


def test_a_client_whose_pictures_are_never_answered_changes_nothing(
    greedy, rounds, make_backend, fake_backend, clients, white
):
    (_, *without), _ = rounds(greedy(fake_backend, views=3), clients[:2], 4)
    backend = make_backend(fails=lambda inputs: inputs.mean((1, 2, 3)) > 0.6)
    (_, *with_), _ = rounds(greedy(backend, views=3), [*clients[:2], white], 4)
    assert np.isnan(with_[-1].memory["white"]).all()
    for a, b in zip(without, with_, strict=True):
        assert np.array_equal(a.parameters["prompt"], b.parameters["prompt"])


@pytest.mark.parametrize("before", [0, 1])
def test_a_client_without_an_answer_to_any_candidate_leaves_the_choice_to_the_others(
    greedy, rounds, make_backend, clients, white, before
):
    down = []
    backend = make_backend(fails=lambda inputs: (inputs.mean((1, 2, 3)) > 0.6) & bool(down))
    algorithm, everybody = greedy(backend, population=60, views=2), [*clients[:2], white]
    (*_, state), _ = rounds(algorithm, everybody, before)
    if not before:  # the answers to the start come with the first round
        start = asked_again(backend, views_of(state)[0], white)
    down.append(True)
    exchange = Recording(everybody)
    begin = algorithm.begin

    def answered(message, client):
        down.clear()
        update = begin(message, client)
        down.append(True)
        return update

    algorithm.begin = answered
    after, _ = algorithm.round(state, exchange)
    if not before:
        assert np.array_equal(after.memory["white"][0], start)
    ((message, replies),) = [(message, replies) for name, message, replies in exchange.heard if name == "local"]
    first, second, third = (reply.payload["slopes"] for reply in replies)
    assert not np.nan_to_num(third[-60:]).any()
    assert np.isfinite(third[:-60]).all()
    gains = LinearReadout(backend.info, backend.info.classes).candidate_gains(first + second)
    best = int(message.parameters["tried"][np.argmax(gains)])
    prompts = np.concatenate([views_of(state), algorithm._candidates(algorithm.broadcast(state))])
    assert np.array_equal(views_of(after)[-1], prompts[best].astype(np.float32))
    assert best > 1  # neither what was there nor the first of the candidates


def test_single_failures_do_not_stop_the_search(greedy, rounds, make_backend, clients):
    backend = make_backend(fails=lambda inputs: inputs.sum((1, 2, 3)) % 0.1 < 0.01)
    states, losses = rounds(greedy(backend, views=3), clients, 5)
    assert np.isnan(states[-1].memory["client-002"]).any()
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]


@pytest.mark.parametrize(
    ("prompt", "readout"), [(PROMPT, Identity), (PROMPT, Prototypes), (NoPrompt((8, 8)), LinearReadout)]
)
def test_it_wants_a_prompt_and_a_head(fake_backend, prompt, readout):
    objective = Objective(fake_backend, prompt, readout(fake_backend.info, fake_backend.info.classes))
    with pytest.raises(ConfigError, match=r"^[^.\n]*a head: give it both, or use --algorithm fedavg$"):
        Greedy(Parts(objective, partial(RandomSearch), 5))


def test_everybody_takes_part(greedy, fake_backend, clients):
    algorithm = greedy(fake_backend)
    assert algorithm.sample(algorithm.init(), clients) == clients


def test_answers_stay_with_the_clients(greedy, fake_backend, clients):
    """What travels up are sums: none of it has a number an example."""
    algorithm, exchange = greedy(fake_backend, population=5, views=3), Recording(clients)
    algorithm.round(algorithm.init(), exchange)
    assert {name for name, *_ in exchange.heard} == {"begin", "sums", "local", "keep"}
    for name, _, replies in exchange.heard:
        if name == "begin":
            assert all(dict(reply.payload) == {} for reply in replies)
        elif name == "local":
            assert {part for reply in replies for part in reply.payload} == {"slopes"}
            assert {reply.payload["slopes"].shape for reply in replies} == {(5, 3 * 3 + 1)}
        else:
            assert {reply.values.shape for reply in replies} <= {(0,), (2 + 3 * 3 + 3,), (2 + 3 * 6 + 3,)}


@pytest.mark.parametrize("stop", [1, 2, 3, 5])
def test_a_fresh_object_goes_on_from_a_checkpoint_with_the_same_bits(
    greedy, rounds, same, fake_backend, clients, tmp_path, stop
):
    states, losses = rounds(greedy(fake_backend, views=3), clients, 6)
    best = Best(0, 0.5, 1.0, 1.0, states[0].parameters)
    save(tmp_path, Progress(states[stop], best, Totals(), Mark(), "config", "data"))
    progress, _ = load_last(tmp_path)
    resumed, later = rounds(greedy(fake_backend, views=3), clients, 6 - stop, progress.state)
    assert same(resumed[-1].parameters, states[-1].parameters)
    assert same(resumed[-1].memory, states[-1].memory)
    assert later == losses[stop:]
