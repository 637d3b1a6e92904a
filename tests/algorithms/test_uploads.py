"""What clients send: losses from which the server rebuilds the same bits, in few bytes whatever the dimension."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from fedbbpt import registry
from fedbbpt.backend import BackendInfo, BackendOutput
from fedbbpt.optim.spsa import Spsa
from fedbbpt.prompts.dct import Dct
from fedbbpt.prompts.padding import Padding
from fedbbpt.types import Client, Dataset


class Wide:
    """Answers for pictures of 64 × 64 pixels."""

    info = BackendInfo("wide", (64, 64), ("dark", "light"), "logits", 1000)

    def query(self, inputs):
        light = inputs.mean((1, 2, 3))
        return BackendOutput(np.stack([-light, light], 1))


@pytest.fixture
def holder():
    """A client of the wide backend."""
    rng = np.random.default_rng(0)
    data = Dataset(rng.integers(0, 256, (4, 3, 64, 64)).astype(np.uint8), np.arange(4) % 2)
    return Client("client-000", data, data, data)


@pytest.fixture
def update_of(make, train, holder):
    """`update_of(prompt, **options)`: what 50 SPSA steps with one direction send."""

    def update(prompt, **options):
        optimizer = partial(Spsa, num_directions=1)
        algorithm = make(Wide(), prompt=prompt, optimizer=optimizer, local_steps=50, batch_size=2, **options)
        return train(algorithm, holder)[0]

    return update


def size(update):
    """Bytes on the wire, with the same figures beside the payload."""
    return len(replace(update, loss=0.5, loss_std=0.25).to_bytes())


def fails(inputs):
    return inputs[:, 0].mean((1, 2)) > inputs[:, 1].mean((1, 2))


@pytest.mark.parametrize("loss_dtype", ["float16", "float32"])
@pytest.mark.parametrize("optimizer", registry.names("optimizers"))
def test_the_server_rebuilds_what_the_clients_found_bit_for_bit(
    simulate, same, make_backend, clients, optimizer, loss_dtype
):
    ends = []
    for upload in ("losses", "parameters"):
        wanted = {"local_steps": 3, "batch_size": 2, "upload": upload, "loss_dtype": loss_dtype}
        kind = registry.load("optimizers", optimizer)
        ends.append(simulate(clients, make_backend(fails=fails), optimizer=kind, **wanted).states(4))
    for sent, rebuilt in zip(*ends, strict=True):
        assert same(sent.parameters, rebuilt.parameters)
        assert same(sent.opt_state, rebuilt.opt_state)
    assert not same(ends[0][-1].parameters, ends[0][0].parameters)


def test_failed_queries_reach_the_server_as_such(make, train, make_backend, clients):
    algorithm = make(make_backend(fails=fails), local_steps=3, batch_size=2)
    losses = np.concatenate([train(algorithm, client)[0].payload["losses"].ravel() for client in clients])
    assert 0 < np.isnan(losses).sum() < len(losses)


@pytest.mark.parametrize("prompt", [Dct((64, 64), frequencies=2), Padding((64, 64), width=0.5)], ids=["12", "12288"])
def test_an_update_of_a_hundred_losses_takes_at_most_400_bytes(update_of, prompt):
    update = update_of(prompt)
    (losses,) = update.payload.values()
    assert losses.shape == (50, 2)
    assert losses.dtype == np.float16
    assert len(update.to_bytes()) <= 400


def test_twice_the_precision_takes_two_bytes_more_a_loss(update_of):
    prompt = Dct((64, 64), frequencies=2)
    assert size(update_of(prompt, loss_dtype="float32")) == size(update_of(prompt)) + 2 * 100
    assert size(update_of(prompt, calibrate=False)) == size(update_of(prompt, loss_dtype="float32"))


def test_losses_take_the_same_whatever_the_dimension_and_parameters_do_not(update_of):
    few, many = Dct((64, 64), frequencies=2), Padding((64, 64), width=0.5)
    assert (few.dim, many.dim) == (12, 12288)
    assert size(update_of(few)) == size(update_of(many))
    assert size(update_of(many, upload="parameters")) > 4 * many.dim
    assert size(update_of(few, upload="parameters")) < 400
