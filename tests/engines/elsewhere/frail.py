"""A method whose clients come to grief where a file in its folder says so: `opening`, or a client's name."""

import os
import signal
import time
from pathlib import Path

import numpy as np

from fedbbpt.errors import ConfigError, UnknownName
from fedbbpt.types import Client, Dataset, Score, Update, Usage

CLIENTS = [f"client-{i:03d}" for i in (3, 1, 2, 0)]


def reopen(folder):
    """The method and its clients; nothing is shared between two of them but the folder."""
    _obey(folder, "opening")
    return Frail(folder), [_client(name) for name in CLIENTS]


def _client(name):
    data = Dataset(np.full((2, 3, 1, 1), int(name[-1]), np.uint8), np.zeros(2, np.int64))
    return Client(name, data, data, data)


class Frail:
    """Tells what it was told and what its client holds; writes down who it worked for, and in which process."""

    portable = True

    def __init__(self, folder):
        self._folder = folder

    def local(self, message, client):
        """The client's own random numbers on top of the message's."""
        _obey(self._folder, client.id)
        self._note(client)
        seed = [message.seed, message.round, int(client.train.inputs[0, 0, 0, 0])]
        own = np.random.default_rng(seed).normal(size=1000).astype(np.float32)
        return Update(client.id, {"w": message.parameters["w"] + own}, len(client.train), 0.1, Usage(2, 1))

    def score(self, split, message, client):
        """All right, with a loss that no decimal fraction is."""
        _obey(self._folder, client.id)
        self._note(client)
        return Score(client.id, np.eye(3, dtype=np.int64), float(message.parameters["w"][0]) / 3, 0, Usage(len(split)))

    def count(self, message, client):
        """A reply that has no bytes of its own."""
        return message.round + 1000

    def _note(self, client):
        with (Path(self._folder) / "log").open("a") as log:
            log.write(f"{client.id} {os.getpid()}\n")


class Stubborn(Frail):
    """Keeps something in its process."""

    portable = False


def _obey(folder, name):
    order = Path(folder) / name
    match order.read_text().split() if order.exists() else []:
        case ["die", "once"]:
            order.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        case ["die"]:
            os.kill(os.getpid(), signal.SIGKILL)
        case ["leave"]:
            os._exit(3)
        case ["sleep"]:
            (Path(folder) / "asleep").write_text(str(os.getpid()))
            time.sleep(600)
        case ["err", kind]:
            raise {
                "config": ConfigError("two settings contradict each other"),
                "name": UnknownName("engine", "seriol", ["serial"]),
                "memory": MemoryError("4 GB"),
                "end": EOFError("of a file"),
                "local": type("OfNobody", (Exception,), {})("cannot travel"),
            }[kind]
