"""FedAvg against a second writing of the same formulas, which shares no code with it."""

import runpy
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from fedbbpt.optim.spsa import SpsaGC
from fedbbpt.prompts.padding import Padding
from fedbbpt.readouts.identity import Identity

federate = runpy.run_path(str(Path(__file__).with_name("naive_twin.py")))["federate"]

SETTINGS = {"a": 2.0, "c": 0.4, "alpha": 0.4, "gamma": 0.1, "o": 1.0, "beta": 0.9, "num_directions": 3}
COST = {"local_steps": 2, "batch_size": 5, "epsilon": 0.1}
SEED, ROUNDS = 11, 3
CLOSE = 1e-6  # the last bit of a loss in float32 may differ, and with it θ by some 1e-7


@pytest.fixture
def start():
    return np.random.default_rng(0).normal(0, 0.1, 192).astype(np.float32)


@pytest.fixture
def trained(simulate, fake_backend, clients, start):
    """`trained(upload)`: θ after every round of the real one."""

    def train(upload):
        gains = {{"o": "stability_constant"}.get(key, key): value for key, value in SETTINGS.items()}
        simulation = simulate(
            clients,
            fake_backend,
            prompt=Padding((8, 8), epsilon=COST["epsilon"], width=0.5),  # every pixel is frame
            readout=Identity,
            optimizer=partial(SpsaGC, **gains),
            seed=SEED,
            local_steps=COST["local_steps"],
            batch_size=COST["batch_size"],
            calibrate=False,
            upload=upload,
        )
        state = simulation.algorithm.init()
        state = replace(state, parameters={**state.parameters, "prompt": start})
        return [state.parameters["prompt"] for state in simulation.states(ROUNDS, state)[1:]]

    return train


@pytest.mark.parametrize("upload", ["losses", "parameters"])
def test_parameters_agree_to_six_places_after_every_round(fake_backend, clients, start, trained, upload):
    real = trained(upload)
    for count in range(1, ROUNDS + 1):
        expected = federate(lambda x: fake_backend.query(x).scores, clients, start, count, SEED, SETTINGS | COST)
        assert real[count - 1].dtype == np.float32
        assert np.abs(real[count - 1] - expected).max() < CLOSE


def test_parameters_moved_far_enough_to_tell(start, trained):
    moves = np.abs(np.diff([start, *trained("losses")], axis=0))
    assert (moves.max(1) > 1000 * CLOSE).all()
