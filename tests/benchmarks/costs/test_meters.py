"""FLOPs and memory of a round, measured: as counted by hand."""

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from fedbbpt.config import Config
from fedbbpt_backends.local_vit import Network
from fedbbpt_backends.split_vit import SplitViT
from fedbbpt_benchmarks.experiments.costs.instrumented import Instrument, InstrumentedSplit
from fedbbpt_benchmarks.experiments.costs.measure import Stand
from fedbbpt_benchmarks.experiments.costs.memory import Memory
from fedbbpt_benchmarks.experiments.costs.meters import Flops
from fedbbpt_benchmarks.experiments.costs.vit_sizes import Shape

Configs = Callable[..., dict[str, Config]]
ALL = frozenset({"prompt", "head", "body", "tail", "classifier"})


def test_flops_are_those_counted_by_hand(tiny: str) -> None:
    """Attention by SDPBackend.MATH and the layers under functional_call are seen, forward and back."""
    split = SplitViT(
        Network(tiny, None, "float32", "cpu", 512),
        head_blocks=1,
        tail_blocks=1,
        num_prompt_tokens=0,
        deep_prompt=False,
        num_classes=3,
    )
    parameters, images = split.init(0), np.zeros((2, 3, 32, 32), np.float32)
    embedding = 2 * 16 * (3 * 8 * 8) * 16  # 16 patches of 3·8² pixels, 16 filters
    linear = 2 * 17 * (4 * 16 * 16 + 2 * 16 * 48)  # 17 tokens; q, k, v, output; two layers of the MLP
    attention = 2 * 2 * 17 * 17 * 16  # QKᵀ, and its product with V
    assert (embedding, linear, attention) == (98_304, 87_040, 18_496)
    for trained, back in (
        (ALL - {"prompt"}, {"head": embedding + 2 * linear, "body": 4 * linear, "tail": 2 * linear + 2 * 96}),
        ({"body", "tail"}, {"head": None, "body": 4 * linear, "tail": 2 * linear + 96}),
    ):
        flops = Flops()
        instrumented = InstrumentedSplit(split, Instrument(flops, "server"))
        head = instrumented.head(parameters, images, frozenset(trained))
        assert flops.of == {"client": 2 * (embedding + linear + attention), "server": 0}
        body = instrumented.body(parameters, head.values, frozenset(trained))
        assert flops.of["server"] == 2 * 2 * (linear + attention)
        before = dict(flops.of)
        output = instrumented.tail(parameters, body.values, np.array([0, 1]), frozenset(trained))
        assert flops.of["client"] - before["client"] == 2 * (linear + attention + 96 + back["tail"] + 2 * attention)
        backward = body.vjp(output.values)
        if "head" in trained:
            assert flops.of["server"] - before["server"] == 2 * (back["body"] + 2 * 2 * attention)
            before = dict(flops.of)
            head.vjp(backward.values)
            assert flops.of["client"] - before["client"] == 2 * (back["head"] + 2 * attention)


def test_memory_is_that_counted_by_hand() -> None:
    """Two layers without biases on a batch of 2, 8 → 16 → 4, then back; 4 bytes a number."""
    net = nn.Sequential(nn.Linear(8, 16, bias=False), nn.ReLU(), nn.Linear(16, 4, bias=False))
    x, memory = torch.ones(2, 8), Memory()
    with memory("client"):
        y = net(x)  # hidden 128 and behind the ReLU 128, which alone is kept; then 32
    assert memory.peak == {"client": 256, "server": 0}
    with memory("client"):
        gradients = torch.autograd.grad(y, list(net.parameters()), torch.ones(2, 4))
    # y and the ones 32 each, 256 for the second layer's weights, 128 before the ReLU, 512 for the first layer's
    assert memory.peak == {"client": 2 * 32 + 256 + 128 + 512, "server": 0}
    assert [g.nbytes for g in gradients] == [512, 256]


def test_memory_counts_for_the_side_that_made_it_until_it_is_freed() -> None:
    memory, given = Memory(), torch.ones(100)
    with memory("client"):
        made = given * 2  # 400 bytes
        assert made.view(10, 10).t().shape == (10, 10)  # a view is nothing new
        made.add_(1)  # nor is a change in place
        given.view(-1)
    assert memory.peak == {"client": 400, "server": 0}
    array = made.numpy()
    del made  # the array still holds it
    with memory("server"):
        torch.zeros(50)
        torch.zeros(30)  # the other is gone
    with memory("client"):
        torch.zeros(25)
    assert memory.peak == {"client": 500, "server": 200}
    del array
    with memory("client"):
        torch.zeros(110)
    assert memory.peak == {"client": 500, "server": 200}


def test_a_rounds_memory_is_the_same_again(
    tiny: str, tiny_stand: Stand, make_configs: Configs, tiny_shape: Shape
) -> None:
    config = make_configs(tiny, batch_size=3)["sfl-full"]
    one, other = (tiny_stand.remembered(config) for _ in range(2))
    assert one == other
    parameters = tiny_shape.sizes(1, 1, 0, 10)
    assert one["server"].held == 4 * parameters["body"]
    assert one["client"].held == 4 * (sum(parameters.values()) - parameters["body"])
    assert all(memories.live > memories.held for memories in one.values())
    whole = tiny_stand.remembered(make_configs(tiny)["fl-full"])
    assert whole["client"].held == 4 * sum(parameters.values())
    assert whole["server"] == (0, 0)
