"""A method on the fake backend."""

from functools import partial

import pytest

from fedbbpt.algorithms import Parts
from fedbbpt.algorithms.fedavg import FedAvg
from fedbbpt.objective import Objective
from fedbbpt.optim.spsa import SpsaGC
from fedbbpt.prompts.dct import Dct
from fedbbpt.readouts.head import Head


def _make(
    backend,
    kind=FedAvg,
    *,
    prompt=None,
    readout=Head,
    optimizer=SpsaGC,
    objective=Objective,
    classes=None,
    seed=5,
    **options,
):
    prompt = prompt or Dct(backend.info.input_size, frequencies=2)
    parts = prompt, readout(backend.info, classes or backend.info.classes)
    return kind(Parts(objective(backend, *parts), _drawing(optimizer, prompt), seed), **options)


def _drawing(optimizer, prompt):
    """From the prompt's choices, or else two a place, if it is an optimizer of choices."""
    if not getattr(optimizer, "categorical", False):
        return partial(optimizer)
    return lambda *arguments: optimizer(*arguments, getattr(prompt, "choices", 2))


@pytest.fixture
def make():
    """`make(backend, FedAvg, prompt=…, readout=Head, optimizer=SpsaGC, …, **options)`: a method."""
    return _make
