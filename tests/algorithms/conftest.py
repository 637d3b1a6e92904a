"""A method on the fake backend."""

from dataclasses import replace

import pytest

from fedbbpt.algorithms import Parts
from fedbbpt.algorithms.fedavg import FedAvg
from fedbbpt.objective import Objective
from fedbbpt.optim import Space
from fedbbpt.optim.spsa import SpsaGC
from fedbbpt.prompts.dct import Dct
from fedbbpt.readouts.linear import LinearReadout


def _make(
    backend,
    kind=FedAvg,
    *,
    prompt=None,
    readout=LinearReadout,
    optimizer=SpsaGC,
    objective=Objective,
    classes=None,
    seed=5,
    **options,
):
    prompt = prompt or Dct(backend.info.input_size, frequencies=2)
    parts = prompt, readout(backend.info, classes or backend.info.classes)

    def started(start):
        return optimizer(replace(start, space=Space(prompt.choices or 2)))

    return kind(Parts(objective(backend, *parts), started, seed), **options)


@pytest.fixture
def make():
    """`make(backend, FedAvg, prompt=…, readout=LinearReadout, optimizer=SpsaGC, …, **options)`: a method."""
    return _make
