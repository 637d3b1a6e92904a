"""Nodes that average, and do nothing else."""

import numpy as np

from fedbbpt.algorithms.gossip import Gossip
from fedbbpt.algorithms.own_parameters import says
from fedbbpt.prompts.none import NoPrompt
from fedbbpt.testing import Toy
from fedbbpt.testing.toy import ToyBackend, toy_client

NODES, CLASSES = 5, 100


def drawn(node, size):
    return np.random.default_rng(int(node)).standard_normal(size).astype(np.float32)


class Still(Gossip):
    """Nodes that begin with parameters drawn at random, and take no steps."""

    def _train(self, message, ctx):
        own = self._own(message, ctx)
        if message.round == 1:
            self._store(own, {"readout": drawn(ctx.id[-1], own.parameters["readout"].size)}, message, ctx)
        return says(ctx, {})


def toy(classes=CLASSES):
    backend = ToyBackend(classes=[f"class {i}" for i in range(classes)])
    clients = [toy_client(f"node-{i}", 4 + i, i) for i in range(NODES)]
    return Toy(backend, prompt=NoPrompt(backend.info.input_size), clients=clients)


def own(one):
    return np.stack([memory.arrays["tuned/current/parameters/readout"] for memory in one.memories.values()])


def start(classes=CLASSES):
    return np.stack([drawn(i, classes * (classes + 1)) for i in range(NODES)])


def distance(x):
    return np.sqrt(((x - x.mean(0, np.float64)) ** 2).sum(1).mean())
