"""Scores over all clients, and the baselines that a prompt has to beat."""

import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from fedbbpt.algorithms import Algorithm, Keeps, State
from fedbbpt.algorithms.sound import usable
from fedbbpt.backend import Backend, BackendOutput, Meter
from fedbbpt.engines import Engine
from fedbbpt.engines.serial import Serial
from fedbbpt.errors import BackendError, ConfigError, FedbbptError
from fedbbpt.run.checkpoint import Best
from fedbbpt.run.exchange import CountedExchange, SoundExchange
from fedbbpt.run.session import Session
from fedbbpt.types import Client, Dataset, Float32, Inputs, Int64, Score, Usage


@dataclass(frozen=True)
class Result:
    """The scores of all clients on one split, added up."""

    scores: list[Score]
    message_bytes: int  # of the one message, which every client received
    out: Mapping[str, str] = field(default_factory=dict)  # clients whose scores cannot be used, and why

    @property
    def confusion(self) -> Int64:
        """(K, K): true class by predicted class."""
        total: Int64 = np.sum([s.confusion for s in self.scores], axis=0)
        return total

    @property
    def accuracy(self) -> float:
        """Share of the examples that were answered and answered right."""
        examples = int(self.confusion.sum()) + sum(s.unanswered for s in self.scores)
        return float(np.trace(self.confusion) / examples) if examples else float("nan")

    @property
    def macro_f1(self) -> float:
        """Mean over the tested classes of the harmonic mean of precision and recall, of the answered queries."""
        right, asked, given = np.diag(self.confusion), self.confusion.sum(1), self.confusion.sum(0)
        return float(np.mean(2 * right[asked > 0] / (asked + given)[asked > 0])) if asked.any() else float("nan")

    @property
    def loss(self) -> float:
        """Mean cross-entropy (nats) over the answered examples."""
        answered = int(self.confusion.sum())
        return sum(s.loss_sum for s in self.scores) / answered if answered else float("nan")

    @property
    def usage(self) -> Usage:
        """What it cost."""
        return sum((s.usage for s in self.scores), Usage())

    @property
    def bytes_down(self) -> int:
        """Bytes of the message, once per client, and of the traffic over the cuts of a split model."""
        return self.message_bytes * len(self.scores) + sum(s.traffic.down for s in self.scores)

    @property
    def bytes_up(self) -> int:
        """Bytes of the clients' scores, and of the traffic over the cuts of a split model."""
        return sum(len(s.to_bytes()) + s.traffic.up for s in self.scores)


def evaluate(algorithm: Algorithm, state: State, clients: list[Client], split: str, engine: Engine) -> Result:
    """The state's parameters on one split of all clients."""
    message = algorithm.broadcast(state)
    out: dict[str, str] = {}
    scores = list(engine.map(partial(algorithm.score, split, message), clients))
    sound = usable(scores, clients, algorithm.blank(algorithm.score, message), message, out)
    return Result(sound, len(message.to_bytes()), out)


def silence(session: Session, where: str) -> FedbbptError:
    """What is said where no answer of the model is a number."""
    if session.white_box:
        return ConfigError(
            f"the parameters diverged: the scores of {where} are not numbers; start a new run with smaller steps "
            "(-o algorithm.lr, -o algorithm.self_update_lr)"
        )
    client = session.backend.service_client
    said = (client and client.refusals.last_error) or "no reply, or scores that are not numbers"
    again = "; what was refused is asked again after fedbbpt cache clear --refused" if client else ""
    return BackendError(
        f"the model answered none of the queries for {where} ({said}); nothing is lost: once it answers, continue "
        f"with --resume{again}"
    )


def better(result: Result, state: State, best: Best | None, keeps: Keeps) -> Best:
    """Which of the two to keep, by their validation data.

    "lowest": of lower loss, then of higher accuracy, then the earlier. Few shots make accuracy a coarse ruler; the loss
    tells more from the same answers. "latest": the later, if its loss is not above that of the start.
    """
    loss = math.inf if math.isnan(result.loss) else result.loss
    if best is None:
        return Best(state.round, result.accuracy, loss, loss, state.parameters)
    lower = (-loss, result.accuracy) > (-best.loss, best.accuracy)
    if lower if keeps == "lowest" else loss <= best.start:
        return Best(state.round, result.accuracy, loss, best.start, state.parameters)
    return best


class Remembered(Backend):
    """A backend that asks about each input once and answers from memory from then on."""

    def __init__(self, backend: Backend, splits: Iterable[Dataset]) -> None:
        meter = Meter(backend)
        self.info = backend.info
        self._answers: dict[bytes, Float32] = {}  # by the input's digest
        for data in splits:
            for start in range(0, len(data), self.info.max_batch):
                inputs = data.batch(slice(start, start + self.info.max_batch)).inputs
                scores = meter.query(inputs).scores
                self._answers |= {_digest(one): row for one, row in zip(inputs, scores, strict=True)}
        self.usage = meter.usage

    def query(self, inputs: Inputs) -> BackendOutput:
        """See `Backend.query`; only inputs that it has seen."""
        return BackendOutput(np.stack([self._answers[_digest(one)] for one in inputs]))


def _digest(one: Float32 | str) -> bytes:
    return hashlib.blake2b(one.encode() if isinstance(one, str) else one.tobytes(), digest_size=16).digest()


@dataclass(frozen=True)
class Baselines:
    """What can be had without a prompt, from one answer to every unprompted input."""

    zero_shot: Result | None  # untrained readout; None where the classes are not the task's, or the model not here
    readout_alone: Result | None  # None without weights to train, and where the run itself is that


def remember(session: Session) -> Remembered:
    """Asks about every unprompted input that the session needs."""
    return Remembered(session.backend, session.unprompted_data)


def baselines(session: Session, memory: Remembered) -> Baselines:
    """Zero-shot, and the readout alone: fitted to the remembered answers, and kept where validation is for it."""
    if not session.whole:
        return Baselines(None, None)
    algorithm, engine = session.unprompted(memory), Serial()  # the memory is here

    def look(state: State, split: str) -> Result:
        return evaluate(algorithm, state, session.clients, split, engine)

    state = algorithm.init()
    zero_shot = look(state, "test") if session.same_classes else None
    if not (session.prompt.dim and session.readout.trainable):
        return Baselines(zero_shot, None)
    best = better(look(state, "validation"), state, None, algorithm.keeps)
    exchange = CountedExchange(engine, algorithm.sample(state, session.clients))
    state, _ = algorithm.round(state, SoundExchange(exchange, algorithm))
    best = better(look(state, "validation"), state, best, algorithm.keeps)
    return Baselines(zero_shot, look(State(best.round, best.parameters), "test"))
