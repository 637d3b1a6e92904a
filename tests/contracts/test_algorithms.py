"""What every registered algorithm promises."""

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest

from fedbbpt import registry
from fedbbpt.algorithms import ClientSizes
from fedbbpt.algorithms.ensemble import Ensemble
from fedbbpt.algorithms.fedavg import FedAvg
from fedbbpt.algorithms.gossip import Gossip
from fedbbpt.config.components import resolve
from fedbbpt.optim.random_search import RandomSearch
from fedbbpt.optim.sep_cma import SepCma
from fedbbpt.optim.spsa import SpsaGC
from fedbbpt.prompts.none import NoPrompt
from fedbbpt.prompts.padding import Padding
from fedbbpt.readouts.linear import LinearReadout
from fedbbpt.readouts.none import NoReadout
from fedbbpt.split_learning.gossip_sfprompt import GossipSFPrompt
from fedbbpt.split_learning.sfprompt import SFPrompt
from fedbbpt.testing import ContractError, PartitionableToy, Toy, ToyBackend, check_algorithm
from fedbbpt.testing.algorithms import (
    ALGORITHM_CHECKS,
    check_catching_up,
    check_exchanges,
    check_learning,
    check_usage,
)
from fedbbpt.testing.privacy import check_privacy
from fedbbpt.testing.simulation import simulate

NAMES = registry.names("algorithms")
CHECKS = pytest.mark.parametrize("check", ALGORITHM_CHECKS, ids=lambda check: check.__name__)
SHARES = [(1.0, 20), (0.5, 10), (0.29, 6), (0.001, 1)]


def toy_for(name: str, optimizer: Any = SpsaGC, **backend: Any) -> Toy:
    """What an algorithm of this name takes: a model in parts, an evolution strategy, or anything."""
    if registry.load("algorithms", name).access == "white-box":
        model = PartitionableToy(**backend)
        info = model.info
        return Toy(model, NoPrompt(info.input_size), NoReadout(info, info.classes))
    return Toy(ToyBackend(**backend), optimizer=SepCma if name == "fedbpt" else optimizer)


def make_of(name: str, **wanted: Any) -> Any:
    """The algorithm with those of the wanted options that it has."""
    known = resolve("algorithms", name, {}).options
    options = {option: value for option, value in wanted.items() if option in known}
    return partial(registry.load("algorithms", name), **options)


@CHECKS
@pytest.mark.parametrize("name", NAMES)
def test_keeps_its_promises(name: str, check: Any) -> None:
    check(make_of(name), toy_for(name))


@CHECKS
@pytest.mark.parametrize("name", NAMES)
def test_keeps_its_promises_with_a_few_small_steps(name: str, check: Any) -> None:
    batch = {} if check is check_learning else {"batch_size": 3}  # of few examples, some clients alone learn nothing
    check(make_of(name, local_steps=2, num_prompts=3, **batch), toy_for(name))


@CHECKS
@pytest.mark.parametrize("name", ["common-candidates", "fedavg", "fedbpt", "local", "sfprompt"])
def test_keeps_its_promises_with_some_of_the_clients(name: str, check: Any) -> None:
    check(make_of(name, participation=0.7), toy_for(name))


@CHECKS
@pytest.mark.parametrize(
    "options", [{"upload": "parameters"}, {"server_optimizer": "adam"}, {"calibrate": False}], ids=str
)
def test_fedavg_keeps_its_promises(options: Any, check: Any) -> None:
    check(partial(FedAvg, **options), Toy())


@CHECKS
@pytest.mark.parametrize("compression", ["top-k:0.3", "int8"])
def test_gossip_with_compressed_letters_keeps_its_promises(compression: str, check: Any) -> None:
    check(partial(Gossip, compression=compression, gossip_steps=2), Toy())


@CHECKS
def test_gossip_that_measures_prompts_keeps_its_promises(check: Any) -> None:
    check(partial(Gossip, measure_sharpness=True), Toy())


@CHECKS
def test_an_ensemble_by_chance_keeps_its_promises(check: Any) -> None:
    check(partial(Ensemble, num_prompts=3, selection="random"), Toy())


@CHECKS
@pytest.mark.parametrize(
    "options",
    [
        {"trainable": "full"},
        {"trainable": "full", "topology": "federated"},
        {"trainable": "full", "participation": 0.7},
        {"trainable": "linear", "num_prompt_tokens": 0},
        {"clip_norm": 1.0, "noise_multiplier": 0.01, "activation_dtype": "bfloat16"},
    ],
    ids=str,
)
def test_sfprompt_keeps_its_promises(options: Any, check: Any) -> None:
    check(partial(SFPrompt, **options), toy_for("sfprompt"))


@CHECKS
@pytest.mark.parametrize(
    "options",
    [
        {"trainable": "full"},
        {"trainable": "linear", "num_prompt_tokens": 0, "momentum": 0.5},
        {"rho": 0.05, "gossip_steps": 2, "compression": "top-k:0.3", "measure_sharpness": True},
    ],
    ids=str,
)
def test_gossip_of_sfprompt_keeps_its_promises(options: Any, check: Any) -> None:
    check(partial(GossipSFPrompt, **options), toy_for("gossip-sfprompt"))


@pytest.mark.parametrize("limit", [3, 16, 1000])
@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("batch", [4, 50])
@pytest.mark.parametrize("optimizer", [SpsaGC, RandomSearch])
@pytest.mark.parametrize("name", NAMES)
def test_what_rounds_ask_is_what_was_expected(name: str, limit: int, steps: int, batch: int, optimizer: Any) -> None:
    check_usage(make_of(name, local_steps=steps, batch_size=batch), toy_for(name, optimizer, max_batch=limit))


@pytest.mark.parametrize("name", ["ensemble", "fedavg", "fedbpt"])
def test_a_round_of_short_fits_takes_what_is_said(name: str) -> None:
    toy = toy_for(name)
    short = toy.having(readout=LinearReadout(toy.backend.info, toy.backend.info.classes, max_evaluations=1))
    one = simulate(make_of(name, num_prompts=2), short)
    state = one.algorithm.init()
    for round_ in range(1, 5):
        state, _ = one.round(state)
        assert one.pool.exchanges == one.algorithm.most_exchanges(round_)


@pytest.mark.parametrize(("participation", "count"), SHARES)
@pytest.mark.parametrize("name", NAMES)
def test_the_share_that_was_asked_for_takes_part(name: str, participation: float, count: int) -> None:
    takes_all = "participation" not in resolve("algorithms", name, {}).options
    algorithm = make_of(name, participation=participation)(toy_for(name).context())
    everybody = [ClientSizes(f"client-{i:03d}", 1, 1, 1) for i in range(20)]
    assert len(algorithm.sample(algorithm.init(), everybody)) == (20 if takes_all else count)


class Unsettled(FedAvg):
    """Keeps in the object what belongs into the state."""

    rounds = 0

    def round(self, state: Any, send: Any) -> Any:
        self.rounds += 1
        return super().round(state, send)


class Nosy(FedAvg):
    """Sends a client's first image along."""

    def _train(self, message: Any, ctx: Any) -> Any:
        first = np.frombuffer(ctx.data.train.inputs[0].tobytes(), np.float32)
        return self._with(super()._train(message, ctx), first)

    def _empty_update(self) -> Any:
        return self._with(super()._empty_update(), np.full(48, np.nan, np.float32))

    def _with(self, update: Any, more: Any) -> Any:
        return replace(update, payload={**update.payload, "more": more})


class Spendthrift(FedAvg):
    """Asks for more than it says."""

    def _train(self, message: Any, ctx: Any) -> Any:
        ctx.objective.backend.query(ctx.data.train.batch(slice(0, 1)).inputs)
        return super()._train(message, ctx)


class Talkative(FedAvg):
    """Sends everything twice."""

    def round(self, state: Any, send: Any) -> Any:
        super().round(state, send)
        return super().round(state, send)

    def most_exchanges(self, round_: int) -> int:
        return 2


class Absent(FedAvg):
    """Forgets how a client catches up."""

    @property
    def handlers(self) -> Any:
        return {name: handler for name, handler in super().handlers.items() if name != "catch_up"}


@pytest.mark.parametrize(
    ("kind", "check", "promise"),
    [
        (Unsettled, check_algorithm, "never changes after it was made"),
        (Nosy, check_privacy, "a client's data are in a message or a reply"),
        (Spendthrift, check_usage, "replies say what was asked"),
        (Talkative, check_exchanges, "most_exchanges bounds those of a round: round 1 took"),
        (Absent, check_catching_up, "without a memory can take part"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_what_breaks_a_promise_is_told_which(kind: Any, check: Any, promise: str) -> None:
    toy = Toy(prompt=Padding((8, 8), width=0.5)) if check is check_catching_up else Toy()  # whose losses go down
    with pytest.raises(ContractError, match=promise):
        check(kind, toy)
