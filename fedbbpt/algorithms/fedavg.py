"""Fed-BBPT (Lin et al. 2023, arXiv 2310.03123): local zero-order steps, then FedAvg (McMahan et al. 2017)."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveFloat, PositiveInt

from fedbbpt.algorithms import Exchange, Keeps, Parts, Reply, State, news
from fedbbpt.algorithms.aggregate import weighted_mean
from fedbbpt.algorithms.calibration import Calibration, diverged, finite_mean, mean_loss, spread_of
from fedbbpt.algorithms.readouts import blank_sums, fit
from fedbbpt.algorithms.score import blank_score, metered, score
from fedbbpt.algorithms.server import RATES, RULES
from fedbbpt.algorithms.steps import TUNED, changes, draw, rng_of, sampled, short
from fedbbpt.errors import ConfigError
from fedbbpt.optim import Optimizer, OptimizerStart
from fedbbpt.optim.noop import NoOp
from fedbbpt.readouts import ReadoutData
from fedbbpt.types import Batch, Client, Dataset, Message, Score, Sums, Update, Usage

LARGEST = np.finfo(np.float32).max


class FedAvg:
    """Local zero-order steps on the prompt, then a weighted mean; the readout is fitted exactly on the same answers.

    Each client takes `local_steps` zero-order steps on θ; the server averages the changes, weighted by the number of
    training samples. Then it fits the readout to all answers that these steps paid for (see `readouts.Readout.fit`).

    `fraction` of the clients (at least one) takes part in a round. A minibatch is `batch_size` examples drawn without
    replacement, or all that a client has.

    `upload`: every direction comes from a seed that the server knows, so that the clients' losses are enough to rebuild
    their changes, bit for bit (as in FedKSeed and DeComFL): "losses" sends those, as many bytes as there were losses
    whatever the dimension; "parameters" sends the changes themselves. `precision` is that of the losses. Where all
    clients take part and losses are fewer bytes than the parameters, they go down as well (see `algorithms.news`).

    `calibrate` brings losses and steps to one scale (see `algorithms.calibration`), and answers divergence with the
    last good θ and half the step; without it the optimizer's options are what they are in the literature. A prompt that
    chooses has no scale, and the losses of what it tries may jump.
    """

    federated = True
    keeps: Keeps = "lowest"
    settled = 1

    def __init__(
        self,
        parts: Parts,
        /,
        *,
        fraction: Annotated[float, Field(gt=0, le=1)] = 1.0,
        local_steps: PositiveInt = 1,
        batch_size: PositiveInt = 128,
        upload: Literal["losses", "parameters"] = "losses",
        precision: Literal["float16", "float32"] = "float16",
        calibrate: bool = True,
        server: Literal["mean", "momentum", "adam"] = "mean",
        server_rate: PositiveFloat | None = None,
    ) -> None:
        self._objective, self._make_optimizer, self._seed = parts
        if self._objective.prompt.dim == 0:
            self._make_optimizer = NoOp
        self._fraction, self._local_steps, self._batch_size = fraction, local_steps, batch_size
        self._upload, self._calibrate = upload, calibrate
        self._scaled = not self._objective.prompt.choices
        self._server, self._server_rate = server, RATES[server] if server_rate is None else server_rate
        self._precision = np.float32 if not calibrate else np.dtype(precision).type
        # In the clients' hands: each one's answers of the round, and the parameters that all of them know.
        self._kept: dict[str, ReadoutData] = {}
        self._known = State(-1, {})  # nothing

    def init(self) -> State:
        """The prompt's and the readout's own initial parameters."""
        theta = self._objective.prompt.init(np.random.default_rng(self._seed))
        memory = self._make_optimizer(OptimizerStart(theta, np.random.default_rng(0))).state
        parameters = {
            "prompt": theta,
            "optimizer": memory.astype(np.float32),
            "readout": self._objective.readout.init(self.views(0)),
            "calibration": Calibration().to_array(),
        }
        return State(0, parameters)

    def sample(self, state: State, clients: Sequence[Client]) -> list[Client]:
        """A uniform draw without replacement that depends on the seed and the round only."""
        return sampled(clients, self._fraction, self._seed, state.round + 1)

    def broadcast(self, state: State) -> Message:
        """The current parameters, or the news that lead to them."""
        told = {part: state.memory[part] for part in news.PARTS if part in state.memory}
        if told:
            return Message(state.round + 1, self._seed, {**told, "readout": state.parameters["readout"]})
        return self._full(state)

    def round(self, state: State, exchange: Exchange) -> tuple[State, float]:
        """See `Algorithm`."""
        self._kept.clear()
        if self._known.round not in (state.round - 1, state.round):
            self._known = state  # after a restart, which what clients know has outlived as well
        updates = exchange(self.local, self.broadcast(state))
        new = news.added(state, self.merge(state, updates), updates, self._fraction == 1)
        readout = self._objective.readout
        if readout.trainable:
            told = Message(new.round, self._seed, {})
            weights = fit(readout, new.parameters["readout"], exchange, self.sums, told).astype(np.float32)
            new = replace(new, parameters={**new.parameters, "readout": weights})
        return new, mean_loss(updates)

    @np.errstate(over="ignore", invalid="ignore")  # `merge` sees what overflowed
    def local(self, message: Message, client: Client) -> Update:
        """Zero-order steps on the prompt."""
        message = self._understood(message)
        batches = rng_of(message, client.id, "batches")
        objective, meter = metered(self._objective)
        optimizer = self._optimizer(message, client.id)
        calibration = Calibration.from_array(message.parameters["calibration"])
        told, losses, kept = [], [], []
        for _ in range(self._local_steps):
            batch = self._draw(client.train, batches)
            scores = objective.answers(calibration.scale * optimizer.ask(), batch)  # (n, b, V, C)
            losses.append(objective.losses(message.parameters["readout"], scores, batch.labels))  # (n,)
            calibration = calibration.known(losses[-1])
            told.append(self._told(calibration, losses[-1]))
            optimizer.tell(told[-1])
            kept.append((scores.reshape(-1, *scores.shape[2:]), np.tile(batch.labels, len(scores))))
        self._kept[client.id] = self._objective.readout.fit_data(*map(np.concatenate, zip(*kept, strict=True)))
        payload: Mapping[str, NDArray[Any]] = {"losses": np.stack(told)}
        if self._upload == "parameters" or not self._objective.prompt.dim:
            payload = changes(message, calibration.scale, optimizer)
        spreads = np.array([spread_of(step) for step in losses])
        return Update(
            client.id,
            payload,
            len(client.train),
            short(finite_mean(np.concatenate(losses))),
            meter.usage,
            short(np.sqrt(finite_mean(spreads**2))),
        )

    @np.errstate(over="ignore", invalid="ignore")
    def merge(self, state: State, updates: Sequence[Update]) -> State:
        """Adds the mean change, weighted by samples; goes back to the last good θ where the losses rose too far."""
        calibration = Calibration.from_array(state.parameters["calibration"])
        memory = {part: values for part, values in state.memory.items() if part not in news.PARTS}
        parameters, loss = dict(state.parameters), mean_loss(updates)
        rebuilt = [self._rebuild(self._full(state), update) for update in updates]
        finite = all((np.abs(part) < LARGEST).all() for change in rebuilt for part in change.values())
        if not (finite or self._calibrate):
            raise ConfigError(
                "the prompt diverged beyond all numbers; start a new run with smaller steps (-o optimizer.a, or "
                "optimizer.sigma), or with -o algorithm.calibrate=true"
            )
        lowest = float(memory["lowest"][0]) if "lowest" in memory else np.inf
        if self._calibrate and (not finite or (self._scaled and diverged(loss, lowest))):
            fresh = self.init().parameters["optimizer"]
            memory = {part: memory[part] for part in ("lowest", "good") if part in memory}  # no momentum
            parameters |= {"prompt": memory.get("good", parameters["prompt"]), "optimizer": fresh}
            calibration = calibration.rescaled(0.5) if self._scaled else calibration
        else:
            if loss < lowest:
                memory |= {"lowest": np.array([loss], np.float32), "good": parameters["prompt"]}
            mean = weighted_mean(rebuilt, [u.weight for u in updates])
            step, kept = RULES[self._server](mean["prompt"], memory, self._server_rate)
            memory |= kept
            for part, change in (mean | {"prompt": step}).items():
                parameters[part] = (parameters[part] + change).astype(np.float32)
            calibration = calibration.learn(updates, self._scaled) if self._calibrate else calibration
        return State(state.round + 1, parameters | {"calibration": calibration.to_array()}, memory)

    def sums(self, message: Message, client: Client) -> Sums:
        """What the readout's fit wants to know of the answers that the client has kept."""
        statistics = self._objective.readout.statistics(message.parameters["readout"], self._kept[client.id])
        return Sums(statistics.astype(np.float32))

    def blank(self, work: Callable[..., Reply], message: Message) -> Reply:
        """See `Algorithm`."""
        if work == self.score:
            return blank_score(self._objective, self._understood(message).parameters)
        if work == self.sums:
            scores = np.zeros((0, 1, len(self._objective.backend.info.classes)), np.float32)
            return blank_sums(self._objective.readout, message.parameters["readout"], scores)
        return Update("", self._blank_payload(), 0, math.nan, Usage())

    def _blank_payload(self) -> Mapping[str, NDArray[Any]]:
        theta = np.zeros(self._objective.prompt.dim, np.float32)
        optimizer = self._make_optimizer(OptimizerStart(theta, np.random.default_rng(0)))
        if self._upload == "parameters" or not len(theta):
            return {"prompt": theta, "optimizer": np.zeros(optimizer.state.shape, np.float32)}
        return {"losses": np.full((self._local_steps, optimizer.population_size), np.nan, self._precision)}

    def score(self, split: str, message: Message, client: Client) -> Score:
        """One pass over the client's split."""
        return score(self._objective, self._understood(message).parameters, client.id, getattr(client, split))

    def plan(self, client: Client, round_: int) -> Usage:
        """See `Algorithm`."""
        prompt = self._objective.prompt
        examples = len(client.train) if not prompt.dim else min(self._batch_size, len(client.train))
        optimizer = self._make_optimizer(OptimizerStart(np.zeros(prompt.dim), np.random.default_rng(0)))
        return self._objective.usage(optimizer.population_size, examples).times(self._local_steps)

    def views(self, round_: int) -> int:
        """One."""
        return 1

    def _full(self, state: State) -> Message:
        return Message(state.round + 1, self._seed, state.parameters)

    def _understood(self, message: Message) -> Message:
        """The message with the parameters that the client makes of its news."""
        if news.LOSSES not in message.parameters:
            if message.round == 1:
                self._known = State(0, message.parameters)
            return message
        if self._known.round == message.round - 2:
            self._known = self.merge(self._known, news.updates_of(message.parameters))
        if self._known.round != message.round - 1:
            raise RuntimeError("a client that has missed a round was told of the last one only")
        known = {**self._known.parameters, "readout": message.parameters["readout"]}
        return replace(message, parameters=known)

    def _optimizer(self, message: Message, client: str) -> Optimizer:
        """The optimizer with which a client starts into a round; the server can make the same."""
        scale = Calibration.from_array(message.parameters["calibration"]).scale
        start, state = (message.parameters[part].astype(np.float64) for part in TUNED)
        rng = rng_of(message, client, "directions")
        return self._make_optimizer(OptimizerStart(start / scale, rng, (message.round - 1) * self._local_steps, state))

    def _rebuild(self, message: Message, update: Update) -> Mapping[str, NDArray[Any]]:
        """The changes of a client, from its losses where it sent those."""
        if "losses" not in update.payload:
            return update.payload
        optimizer = self._optimizer(message, update.client)
        for losses in update.payload["losses"]:
            optimizer.ask()
            optimizer.tell(losses)
        return changes(message, Calibration.from_array(message.parameters["calibration"]).scale, optimizer)

    def _told(self, calibration: Calibration, losses: NDArray[np.float64]) -> NDArray[Any]:
        told = calibration.standardise(losses) if self._calibrate else losses
        return told.astype(self._precision)

    def _draw(self, data: Dataset, rng: np.random.Generator) -> Batch:
        """A minibatch; without a prompt everything, since each input is asked about once only."""
        return draw(data, self._batch_size if self._objective.prompt.dim else len(data), rng)
