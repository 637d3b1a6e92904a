from functools import partial

import numpy as np
import pytest

from fedbbpt.algorithms.fedavg import FedAvg
from fedbbpt.algorithms.gossip import Gossip
from fedbbpt.config import make_config
from fedbbpt.optim import OptimizerStart
from fedbbpt.optim.spsa import Spsa
from fedbbpt.optim.zo_sam import ZoSam
from fedbbpt.testing import Toy, check_optimizer
from fedbbpt.testing.simulation import simulate

SLOPE = np.array([3.0, -4.0])


def make(x, step=0, state=None, **options):
    return ZoSam(OptimizerStart(x, np.random.default_rng(0), step, state), **options)


def centre(candidates):
    plus, minus = np.split(candidates, 2)
    assert np.allclose(plus + minus, plus[0] + minus[0])
    return (plus[0] + minus[0]) / 2


def test_second_ask_is_centred_uphill_and_steps_from_x():
    x = np.array([1.0, 2.0])
    optimizer = make(x, a=0.5, alpha=0.0, gamma=0.0, rho=0.2, num_directions=1)
    first = optimizer.ask()
    assert np.allclose(centre(first), x)
    optimizer.tell(first @ SLOPE)
    assert np.array_equal(optimizer.x, x)
    estimate = (first[0] - first[1]) @ SLOPE / (first[0] - first[1])
    second = optimizer.ask()
    assert np.allclose(centre(second), x + 0.2 * np.sqrt(2) * estimate / np.linalg.norm(estimate))
    optimizer.tell((second**2).sum(1))
    step = (second[0] ** 2 - second[1] ** 2).sum() / (second[0] - second[1])
    assert np.allclose(optimizer.x, x - 0.5 * step)
    assert np.allclose(centre(optimizer.ask()), optimizer.x)


def test_round_that_ends_in_between_is_gone_on_with():
    before = make(np.zeros(2))
    before.tell(before.ask() @ SLOPE)
    after = make(before.x, step=1, state=before.state, rho=0.2)
    assert np.linalg.norm(centre(after.ask())) == pytest.approx(0.2 * np.sqrt(2))
    after.tell(np.arange(float(after.population_size)))
    assert after.x.any()
    assert not after.state.any()


def test_mean_direction_is_brought_back_to_its_length():
    optimizer = make(np.zeros(2), state=np.array([0.3, 0.0]), rho=0.2)  # clients that went different ways
    assert np.allclose(centre(optimizer.ask()), [0.2 * np.sqrt(2), 0])


@pytest.mark.parametrize("ascent", ["fresh", "previous"])
@pytest.mark.parametrize("pending", [np.zeros(2), np.array([1.0, -1.0])])
def test_ask_without_information_is_repeated(pending, ascent):
    optimizer = make(np.zeros(2), state=pending, ascent=ascent)
    before = centre(optimizer.ask())
    optimizer.tell(np.full(optimizer.population_size, np.nan))
    assert np.allclose(centre(optimizer.ask()), before)


def test_flat_first_ask_is_repeated():
    optimizer = make(np.zeros(2))
    optimizer.ask()
    optimizer.tell(np.ones(optimizer.population_size))
    assert np.allclose(centre(optimizer.ask()), 0)
    assert np.array_equal(optimizer.state, np.zeros(2))


class TestPrevious:
    """The direction uphill is that of the step before."""

    def test_keeps_the_promises_of_all_optimizers(self):
        check_optimizer(ZoSam, ascent="previous")

    def test_steps_are_those_of_a_naive_twin_through_rounds(self):
        curvature, lowest = np.array([1.0, 3.0, 0.5]), np.array([1.0, -1.0, 2.0])
        a, c, rho, alpha, gamma = 0.1, 0.2, 0.3, 0.5, 0.1

        def loss(x):
            return (curvature * (x - lowest) ** 2).sum(-1) / 2

        x = twin = np.zeros(3)
        uphill, state, k = np.zeros(3), None, 0
        for round_ in range(5):
            start = OptimizerStart(x, np.random.default_rng(round_), k, state)
            options = {"a": a, "c": c, "alpha": alpha, "gamma": gamma, "rho": rho, "num_directions": 2}
            optimizer, rng = ZoSam(start, ascent="previous", **options), np.random.default_rng(round_)
            for _ in range(3):
                optimizer.tell(loss(optimizer.ask()))
                k += 1
                directions = rng.choice([-1.0, 1.0], (2, 3))
                length = np.linalg.norm(uphill)
                centre = twin + rho * np.sqrt(3) * uphill / length if length else twin
                radius = c / k**gamma
                uphill = np.zeros(3)
                for direction in directions:
                    rise = loss(centre + radius * direction) - loss(centre - radius * direction)
                    uphill = uphill + rise / (2 * radius) / direction / 2
                twin = twin - a / k**alpha * uphill
            x, state = optimizer.x, optimizer.state
            assert np.allclose(x, twin, rtol=1e-12)
        assert loss(x) < loss(np.zeros(3)) / 2

    def test_first_step_is_that_of_spsa(self):
        ends = []
        for kind in (Spsa, partial(ZoSam, ascent="previous")):
            optimizer = kind(OptimizerStart(np.ones(50), np.random.default_rng(0)))
            optimizer.tell(optimizer.ask() ** 2 @ np.arange(50.0))
            ends.append(optimizer.x)
        assert (ends[0] != 1).any()
        assert ends[0].tolist() == ends[1].tolist()

    @pytest.mark.parametrize(("ascent", "steps"), [("previous", 4), ("fresh", 2)])
    def test_with_the_queries_of_spsa_there_are_as_many_steps(self, ascent, steps):
        spent, ends = [], []
        for kind in (Spsa, partial(ZoSam, ascent=ascent)):
            toy = Toy(optimizer=kind)
            one = simulate(partial(Gossip, topology="complete"), toy)
            state, points = one.algorithm.init(), []
            for _ in range(4):
                state, _ = one.round(state)
                points.append(next(iter(one.memories.values())).arrays["tuned/current/parameters/prompt"])
            start = np.zeros_like(points[0])
            ends.append([point.tobytes() for point in (start, *points)])
            spent.append(sum(toy.backend.calls))
        assert spent[0] == spent[1] > 0
        assert [len(set(points)) - 1 for points in ends] == [4, steps]

    def test_the_server_rebuilds_steps_and_state_from_losses(self):
        ends = []
        for upload in ("losses", "parameters"):
            toy = Toy(optimizer=partial(ZoSam, ascent="previous"))
            (*_, end) = simulate(partial(FedAvg, local_steps=3, upload=upload), toy).states(3)
            ends.append({part: values.tolist() for part, values in end.parameters.items()})
        assert ends[0] == ends[1]
        assert np.any(ends[0]["optimizer"])


@pytest.mark.parametrize("preset", ["dfedsam", "dfedsam-mgs"])
def test_presets_without_a_server_ask_nothing_more(preset):
    assert make_config({}, preset).optimizer.options["ascent"] == "previous"
