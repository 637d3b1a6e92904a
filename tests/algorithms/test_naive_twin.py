"""FedAvg against a second writing of the same formulas, which shares no code with it."""

import runpy
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from fedbbpt.algorithms import Parts
from fedbbpt.algorithms.fedavg import FedAvg
from fedbbpt.objective import Objective
from fedbbpt.optim.spsa import SpsaGC
from fedbbpt.prompts.frame import Frame
from fedbbpt.readout import Identity

federate = runpy.run_path(str(Path(__file__).with_name("naive_twin.py")))["federate"]

SETTINGS = {"a": 2.0, "c": 0.4, "alpha": 0.4, "gamma": 0.1, "o": 1.0, "beta": 0.9, "directions": 3}
COST = {"local_steps": 2, "batch_size": 5, "epsilon": 0.1}
SEED, ROUNDS = 11, 3


@pytest.fixture
def start():
    return np.random.default_rng(0).normal(0, 0.1, 192).astype(np.float32)


@pytest.fixture
def trained(fake_backend, clients, start):
    """θ after every round of the real one."""
    prompt = Frame((8, 8), epsilon=COST["epsilon"], width=0.5)  # every pixel is frame
    gains = {{"o": "stability"}.get(key, key): value for key, value in SETTINGS.items()}
    objective = Objective(fake_backend, prompt, Identity(fake_backend.info, fake_backend.info.classes))
    algorithm = FedAvg(Parts(objective, partial(SpsaGC, **gains), SEED), local_steps=2, batch_size=5)
    state = algorithm.init()
    state.parameters["prompt"] = start
    thetas = []
    for _ in range(ROUNDS):
        message = algorithm.broadcast(state)
        state = algorithm.merge(state, [algorithm.local(message, client) for client in clients])
        thetas.append(state.parameters["prompt"])
    return thetas


@pytest.mark.parametrize("rounds", range(1, ROUNDS + 1))
def test_parameters_agree_bit_for_bit(fake_backend, clients, start, trained, rounds):
    expected = federate(lambda x: fake_backend.query(x).scores, clients, start, rounds, SEED, SETTINGS | COST)
    assert expected.dtype == trained[rounds - 1].dtype == np.float32
    assert np.array_equal(trained[rounds - 1], expected)


def test_parameters_moved_far_enough_to_tell(start, trained):
    assert np.abs(trained[-1] - start).min() > 1e-6
    assert np.abs(trained[-1] - start).max() > 0.01
