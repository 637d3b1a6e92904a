"""An algorithm whose clients come to grief where a file in its folder says so: `opening`, or a client's name."""

import os
import signal
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np

from fedbbpt.algorithms import Algorithm, ClientMemory
from fedbbpt.engines import TUNED, Call, ClientHost, HostFactory
from fedbbpt.errors import ConfigError, UnknownName
from fedbbpt.types import Client, Dataset, Message, Score, Update, Usage

CLIENTS = [f"client-{i:03d}" for i in (3, 1, 2, 0)]
SETTINGS = {"seed": 5, "parameters": {"w": np.linspace(0, 1, 1000, dtype=np.float32)}}
FIRST, SECOND = (Call("train", Message(round_, **SETTINGS)) for round_ in (1, 2))
EVALUATE, COUNT = (Call(handler, Message(1, **SETTINGS)) for handler in ("evaluate", "count"))


class Hosts(HostFactory):
    """Hosts that share nothing but a folder."""

    def __init__(self, folder):
        self._folder = str(folder)

    def here(self):
        return ClientHost({TUNED: (Crashing(self._folder), None)}, {name: _client(name) for name in CLIENTS})

    @property
    def opener(self):
        return partial(open_host, self._folder)


def open_host(folder):
    """The host of a worker process."""
    _obey(folder, "opening")
    return Hosts(folder).here()


def new_memories():
    """Nothing that any client remembers."""
    return {name: ClientMemory() for name in CLIENTS}


def _client(name):
    data = Dataset(np.full((2, 3, 1, 1), int(name[-1]), np.uint8), np.zeros(2, np.int64))
    return Client(name, data, data, data)


class Crashing(Algorithm):
    """Tells what it was told and what its client holds; writes down who it worked for, and in which process."""

    def __init__(self, folder):
        self._folder = folder

    @property
    def handlers(self):
        return {"train": self._train, "evaluate": self._evaluate, "count": self._count}

    def _train(self, message, ctx):
        """The client's own random numbers on top of the message's."""
        self._work(ctx)
        seed = [message.seed, message.round, int(ctx.data.train.inputs[0, 0, 0, 0])]
        own = np.random.default_rng(seed).normal(size=1000).astype(np.float32)
        return Update(ctx.id, {"w": message.parameters["w"] + own}, len(ctx.data.train), 0.1, Usage(2, 1))

    def _evaluate(self, message, ctx):
        """All right, with a loss that no decimal fraction is."""
        self._work(ctx)
        return Score(ctx.id, np.eye(3, dtype=np.int64), float(message.parameters["w"][0]) / 3, 0, Usage(4))

    def _count(self, message, ctx):
        """How often the client was asked to count, as its update."""
        self._work(ctx)
        ctx.state["count"] = ctx.state.get("count", np.zeros(1, np.float32)) + 1
        ctx.scratch["last"] = np.array([message.round])
        return Update(ctx.id, {"count": ctx.state["count"]}, 1, 0.0, Usage())

    def _work(self, ctx):
        _obey(self._folder, ctx.id)
        with (Path(self._folder) / "log").open("a") as log:
            log.write(f"{ctx.id} {os.getpid()}\n")


def _read(order):
    try:
        return order.read_text().split()
    except FileNotFoundError:
        return []


def _obey(folder, name):
    order = Path(folder) / name
    match _read(order):
        case ["die", "once"]:
            with suppress(FileNotFoundError):  # another worker that opens at the same moment was faster
                order.unlink()
                os.kill(os.getpid(), signal.SIGKILL)
        case ["die"]:
            os.kill(os.getpid(), signal.SIGKILL)
        case ["leave"]:
            os._exit(3)
        case ["sleep"]:
            (Path(folder) / "asleep").write_text(str(os.getpid()))
            time.sleep(600)
        case ["tell", variable]:
            (Path(folder) / "told").write_text(os.environ.get(variable, ""))
        case ["err", kind]:
            raise {
                "config": ConfigError("two settings contradict each other"),
                "name": UnknownName("engine", "seriol", ["serial"]),
                "memory": MemoryError("4 GB"),
                "end": EOFError("of a file"),
                "local": type("OfNobody", (Exception,), {})("cannot travel"),
            }[kind]
