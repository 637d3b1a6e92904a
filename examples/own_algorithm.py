"""A federated algorithm of your own: all clients measure the same changes of θ, and the server takes the best of them.

Checks the contract of algorithms, then runs some rounds on a toy task: python own_algorithm.py. In a package, register
the class in setup.cfg, in the group fedbbpt.algorithms; then `fedbbpt train --algorithm NAME` finds it.
"""

import numpy as np
from pydantic import PositiveInt

from fedbbpt.algorithms import AlgorithmContext, RoundReport, ServerState
from fedbbpt.algorithms.aggregation import weighted_mean
from fedbbpt.algorithms.fedavg import FedAvg
from fedbbpt.testing import Toy, check_algorithm
from fedbbpt.testing.simulation import simulate
from fedbbpt.types import Update, Usage


class Vote(FedAvg):  # of which it keeps the start, the messages and the evaluation
    """Tries θ and random changes of it, the same at all clients; replies hold nothing but losses."""

    def __init__(self, context: AlgorithmContext, /, *, candidates: PositiveInt = 8) -> None:
        super().__init__(context)
        self._count = candidates

    def round(self, state, send):
        updates = send("train", message := self.broadcast(state))
        losses = weighted_mean([u.payload for u in updates], [u.weight for u in updates])["losses"]
        best = np.where(np.isnan(losses), np.inf, losses).argmin()  # θ itself, where the model answers nothing
        chosen = {**state.parameters, "prompt": self._candidates(message)[best]}
        return ServerState(message.round, chosen), RoundReport(float(losses[0]))

    def _train(self, message, ctx):
        objective, meter = ctx.metered()
        batch = ctx.data.train.batch(slice(None))
        scores = objective.answers(self._candidates(message), batch)
        losses = objective.losses(message.parameters["readout"], scores, batch.labels).astype(np.float32)
        return Update(ctx.id, {"losses": losses}, len(batch.labels), float(losses[0]), meter.usage)

    def _candidates(self, message):
        theta, rng = message.parameters["prompt"], np.random.default_rng((message.seed, message.round))
        steps = rng.normal(0, 0.5, (self._count, len(theta)))
        steps[0] = 0
        return (theta + steps).astype(np.float32)

    def _empty_update(self):  # the form of all replies; NaN, since single losses may be
        return Update("", {"losses": np.full(self._count, np.nan, np.float32)}, 0, np.nan, Usage())

    def expected_usage(self, client, round_):
        return self.model.usage(self._count, client.train)

    def most_exchanges(self, round_):  # no readout is fitted
        return 1


if __name__ == "__main__":
    check_algorithm(Vote)
    simulation = simulate(Vote, Toy())
    for state in simulation.states(20)[::5]:
        print(f"round {state.round:2}: training loss {simulation.evaluate(state, 'train').loss:.4f}")
