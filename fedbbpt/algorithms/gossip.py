"""No server: each node takes local steps, and then averages with its neighbours.

DFedAvg and DFedAvgM (Sun et al. 2023, IEEE TPAMI 45(4), arXiv 2104.11375); DFedSAM and DFedSAM-MGS (Shi et al.
2023, ICML, arXiv 2302.04083); see `Gossip`.
"""

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from fedbbpt.algorithms import AlgorithmContext, ClientContext, ClientReply, ClientSizes, Handler, OutOfDateError
from fedbbpt.algorithms.evaluation import empty_score
from fedbbpt.algorithms.local import Local
from fedbbpt.algorithms.local_steps import stored_fit_data
from fedbbpt.algorithms.neighbour_averaging import NeighbourAveraging
from fedbbpt.algorithms.own_parameters import SELECTED, load, says
from fedbbpt.algorithms.readout_steps import ReadoutSteps
from fedbbpt.algorithms.sampling import rng_of
from fedbbpt.algorithms.sharpness import DIRECTIONS, POINTS, PROMPT_SHARPNESS, SHARPNESS, prompt_sharpness, sharpness
from fedbbpt.errors import ConfigError
from fedbbpt.readouts.linear import LinearReadout
from fedbbpt.types import Float32, Floats, Message, Score, Update, Usage


class Gossip(NeighbourAveraging, Local):
    """Local steps, then `gossip_steps` rounds of averaging with the neighbours; there is no server.

    A round at node i: zero-order steps on the prompt, as in `fedavg`, and `readout_steps` gradient steps on the linear
    readout, whose gradient is exact and costs no query. Then, Q = `gossip_steps` times, neighbours average prompt and
    readout (`NeighbourAveraging`).

    With `rho` 0 it is DFedAvg; with momentum, DFedAvgM; with `rho`, DFedSAM, whose gradients are those at
    x + ρ ∇F / ‖∇F‖; with several gossip steps, DFedSAM-MGS. For the prompt, the optimizer `zo-sam` does the same.

    Args:
        context: the model, the optimizer and the seed.
        topology: ring, torus, exponential, star, complete, random-regular:K (links), erdos-renyi:P (probability), or
            file:PATH (two nodes in a line); matching and one-peer-exponential change from round to round.
        gossip_steps: Q, times that neighbours average in a round.
        compression: what letters say: none, all; top-k:SHARE, that share of the numbers, which have changed most; int8,
            how all numbers have changed, in a byte each. Not for topologies that change.
        consensus_step: γ of compressed letters; unset, SHARE with top-k, and 1 with int8.
        local_steps: zero-order steps per node and round.
        batch_size: as in `fedavg`.
        readout_steps: gradient steps on the readout per node and round, on all answers of the round.
        readout_lr: their step size.
        momentum: of the readout's steps, begun anew in each round; the prompt's is its optimizer's.
        rho: ρ, the radius of sharpness-aware steps on the readout.
        calibrate: as in `fedavg`, at each node by itself.
        measure_sharpness: at the end, of the nodes' prompts, too: twelve queries for each training example.
    """

    _mixed = ("prompt", "readout")

    def __init__(
        self,
        context: AlgorithmContext,
        /,
        *,
        topology: str = "exponential",
        gossip_steps: PositiveInt = 1,
        compression: str = "none",
        consensus_step: Annotated[float, Field(gt=0, le=1)] | None = None,
        local_steps: PositiveInt = 1,
        batch_size: PositiveInt | None = None,
        readout_steps: PositiveInt = 10,
        readout_lr: PositiveFloat = 1.0,
        momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0,
        rho: NonNegativeFloat = 0.0,
        calibrate: bool = True,
        measure_sharpness: bool = False,
    ) -> None:
        alone = replace(context, clients=1)  # each node has an optimizer of its own
        super().__init__(alone, local_steps=local_steps, batch_size=batch_size, calibrate=calibrate)
        readout = self.model.readout
        if readout.trainable and not isinstance(readout, LinearReadout):
            raise ConfigError("algorithm 'gossip' trains a linear readout, or none: use --readout linear or identity")
        self._average_over(context, topology, gossip_steps, compression, consensus_step)
        self._measures_prompt = measure_sharpness and self.model.prompt.dim > 0
        self._steps = ReadoutSteps(readout, readout_steps, readout_lr, momentum, rho)

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """See `Algorithm`; "sharpness" says that of the node's parameters of the message's round, if it marked that."""
        measures = self._measures_prompt or isinstance(self.model.readout, LinearReadout)
        return {**super().handlers, **({SHARPNESS: self._sharpness} if measures else {}), "train": self._train}

    def template(self, handler: str, message: Message) -> ClientReply:
        """See `Algorithm`."""
        if handler == SHARPNESS:
            return Update("", self._unknown, 0, math.nan, Usage())
        return super().template(handler, message)

    def sharpness_usage(self, client: ClientSizes) -> Usage:
        """See `Algorithm`."""
        if not (self._measures_prompt and client.train):
            return Usage()
        at_random, others = (self.model.usage(count, client.train) for count in (DIRECTIONS, POINTS - DIRECTIONS))
        return at_random + others

    def _fitted(self, weights: Floats, ctx: ClientContext) -> Floats:
        """The readout after a round's gradient steps on the answers that the local steps have brought."""
        return self._steps.taken(weights, stored_fit_data(ctx))

    def _select(self, message: Message, ctx: ClientContext) -> Update:
        """Also measures the readout's sharpness, on the answers of the round, which do not outlive it."""
        ctx.state.pop(SHARPNESS, None)
        if isinstance(readout := self.model.readout, LinearReadout):
            weights, rng = self._own(message, ctx).parameters["readout"], rng_of(message, ctx.id, SHARPNESS)
            with suppress(OutOfDateError):  # it was away, and has no answers
                ctx.state[SHARPNESS] = sharpness(readout, weights, stored_fit_data(ctx), rng).astype(np.float32)
        return super()._select(message, ctx)

    def _sharpness(self, message: Message, ctx: ClientContext) -> Update:
        selected, known, usage = load(ctx, SELECTED), self._unknown, Usage()
        if selected is not None and selected.round == message.round - 1:
            known[SHARPNESS] = ctx.state.get(SHARPNESS, known[SHARPNESS])
        if self._measures_prompt and len(ctx.data.train):
            known[PROMPT_SHARPNESS], usage = self._of_prompt(message, ctx)
        return says(ctx, known, usage=usage)

    def _of_prompt(self, message: Message, ctx: ClientContext) -> tuple[Float32, Usage]:
        """The sharpness of a node's prompt on all its training examples, and what it takes to ask about it."""
        own, data = self._of_round(message, ctx).parameters, ctx.data.train.batch(slice(None))
        objective, meter = ctx.metered()

        def losses(candidates: Floats) -> NDArray[np.float64]:
            return objective.losses(own["readout"], objective.answers(candidates, data), data.labels)

        rng = rng_of(message, ctx.id, PROMPT_SHARPNESS)
        return prompt_sharpness(losses, own["prompt"], rng).astype(np.float32), meter.usage

    @property
    def _unknown(self) -> dict[str, Float32]:
        """What a node says that does not know how sharp its parameters are."""
        names = [SHARPNESS, PROMPT_SHARPNESS] if self._measures_prompt else [SHARPNESS]
        return {name: np.full(2, np.nan, np.float32) for name in names}

    def _empty_score(self) -> Score:
        return empty_score(self.model, self.init().parameters)
