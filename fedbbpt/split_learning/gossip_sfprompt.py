"""SFPrompt without a server: each node holds the whole model, and averages what it trains with its neighbours."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from fedbbpt.algorithms import AlgorithmContext, ClientContext, ClientReply, ClientSizes, Handler
from fedbbpt.algorithms.neighbour_averaging import NeighbourAveraging
from fedbbpt.algorithms.own_parameters import says
from fedbbpt.algorithms.sampling import rng_of
from fedbbpt.algorithms.sharpness import POINTS, SHARPNESS
from fedbbpt.errors import ConfigError
from fedbbpt.split_learning.local_sgd import LocalSgd
from fedbbpt.split_learning.protocol import Precision
from fedbbpt.split_learning.sfprompt import SFPrompt
from fedbbpt.split_learning.sgd import check_finite
from fedbbpt.split_learning.sharpness import parts_sharpness
from fedbbpt.types import Message, Parameters, Score, Update, Usage


class GossipSFPrompt(NeighbourAveraging, SFPrompt):
    """SFPrompt's steps at each node, then `gossip_steps` rounds of averaging with the neighbours; there is no server.

    A round at node i: self-update, pruning and `epochs` of SGD as in `sfprompt`, on the node's own parameters and
    straight through its own copy of the body, so that no activation leaves it. Then, Q = `gossip_steps` times,
    neighbours average what is trained: soft tokens, tail and classifier, or whatever `trainable` names
    (`NeighbourAveraging`).

    With momentum it is DFedAvgM (Sun et al. 2023, arXiv 2104.11375), with `rho` DFedSAM, and with several gossip steps
    DFedSAM-MGS (Shi et al. 2023, arXiv 2302.04083), on the parts of a model in place of a whole one. `rho` takes two
    passes per step, and so twice the queries.

    Args:
        context: the model and the seed.
        topology: as in `gossip`.
        gossip_steps: as in `gossip`.
        compression: as in `gossip`.
        consensus_step: as in `gossip`.
        momentum: of all steps, begun anew in each round.
        rho: ρ, the radius of sharpness-aware steps.
        head_blocks: as in `sfprompt`, as are all that follow.
        tail_blocks: blocks of the tail.
        num_prompt_tokens: soft tokens.
        deep_prompt: whether they stand before each block of the head.
        keep_fraction: share of the samples that pruning leaves.
        local_epochs: of the self-update.
        lr: step size.
        self_update_lr: that of the self-update.
        batch_size: samples of a step.
        epochs: through the body.
        trainable: prompt, linear or full. Of a whole model, gradients come part by part, so that it takes neither
            momentum nor rho, and its sharpness is not measured.
        dtype: of the blocks.
        measure_sharpness: at the end, of what the nodes train: twelve queries for each training example.
    """

    addresses = ()

    def __init__(
        self,
        context: AlgorithmContext,
        /,
        *,
        topology: str = "exponential",
        gossip_steps: PositiveInt = 1,
        compression: str = "none",
        consensus_step: Annotated[float, Field(gt=0, le=1)] | None = None,
        momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0,
        rho: NonNegativeFloat = 0.0,
        head_blocks: NonNegativeInt = 1,
        tail_blocks: NonNegativeInt = 1,
        num_prompt_tokens: NonNegativeInt = 4,
        deep_prompt: bool = False,
        keep_fraction: Annotated[float, Field(gt=0, le=1)] = 0.8,
        local_epochs: NonNegativeInt = 1,
        lr: PositiveFloat = 0.1,
        self_update_lr: PositiveFloat = 1e-4,
        batch_size: PositiveInt = 4,
        epochs: PositiveInt = 1,
        trainable: Literal["prompt", "linear", "full"] = "prompt",
        dtype: Precision = "float32",
        measure_sharpness: bool = False,
    ) -> None:
        if trainable == "full" and (momentum or rho or measure_sharpness):
            raise ConfigError(
                "with trainable=full, the body steps by itself: leave out algorithm.momentum, rho and measure_sharpness"
            )
        super().__init__(
            context,
            topology="federated",  # in which clients hold the body, too
            head_blocks=head_blocks,
            tail_blocks=tail_blocks,
            num_prompt_tokens=num_prompt_tokens,
            deep_prompt=deep_prompt,
            keep_fraction=keep_fraction,
            local_epochs=local_epochs,
            lr=lr,
            self_update_lr=self_update_lr,
            batch_size=batch_size,
            epochs=epochs,
            trainable=trainable,
            dtype=dtype,
        )
        self._average_over(context, topology, gossip_steps, compression, consensus_step)
        self._mixed, self._momentum, self._rho = self._sent, momentum, rho
        self._measures_sharpness = measure_sharpness

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """See `Algorithm`."""
        measured = {SHARPNESS: self._sharpness} if self._measures_sharpness else {}
        return {**super().handlers, **measured, "train": self._train_own}

    def template(self, handler: str, message: Message) -> ClientReply:
        """See `Algorithm`."""
        if handler == SHARPNESS:
            return Update("", {SHARPNESS: np.full(2, np.nan, np.float32)}, 0, math.nan, Usage())
        return super().template(handler, message)

    def expected_usage(self, client: ClientSizes, round_: int) -> Usage:
        """See `Algorithm`."""
        return super().expected_usage(client, round_).times(2 if self._rho else 1)

    def sharpness_usage(self, client: ClientSizes) -> Usage:
        """See `Algorithm`."""
        of_one = Usage(client.train, -(-client.train // self._limit))
        return of_one.times(POINTS if self._measures_sharpness else 0)

    def _train_own(self, message: Message, ctx: ClientContext) -> Update:
        """Trains and stores the node's own parameters.

        Raises:
            ConfigError: they are no longer finite.
        """
        own = self._own(message, ctx)
        update = self._train(replace(message, parameters=own.parameters), ctx)
        trained = {part: own.parameters[part] + change for part, change in update.payload.items()}
        check_finite(trained)
        self._store(own, trained, message, ctx)
        return replace(update, payload={})

    @np.errstate(over="ignore", invalid="ignore")
    def _sharpness(self, message: Message, ctx: ClientContext) -> Update:
        parameters = {**self._start, **self._of_round(message, ctx).parameters}
        transport = self._transport(message, ctx, self._runner(message, self._trained), self._trained)
        data, rng = ctx.data.train, rng_of(message, ctx.id, SHARPNESS)
        batches = [data.batch(slice(i, i + self._limit)) for i in range(0, len(data), self._limit)]
        found = parts_sharpness(self._split, self._trained, parameters, batches, transport, rng)
        return says(ctx, {SHARPNESS: found.astype(np.float32)}, usage=transport.usage)

    def _local_sgd(self) -> LocalSgd:
        return LocalSgd(self._split, self._trained, self._momentum, self._rho)

    def _score(self, parameters: Parameters, message: Message, ctx: ClientContext) -> Score:
        return self._evaluate(replace(message, parameters=parameters), ctx)

    def _empty_score(self) -> Score:
        return Score("", np.zeros((self._classes, self._classes), np.int64), 0.0, 0, Usage())
