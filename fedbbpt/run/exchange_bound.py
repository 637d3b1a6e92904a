"""The most exchanges of a run, computed without a query."""

from fedbbpt.config.components import learns_vocabulary
from fedbbpt.run.evaluate import most_baseline_exchanges
from fedbbpt.run.experiment import Experiment


class ExchangeBound:
    """Bounds the exchanges of a run, if no client loses what it remembers.

    A fit of the readout may end early, and the words of a prompt may be the user's own, so that a run takes fewer. With
    an algorithm that shares no parameters, nothing travels but the counts of words.
    """

    def __init__(self, experiment: Experiment) -> None:
        self._algorithm = experiment.algorithm
        self._shares = self._algorithm.shares_parameters
        self._vocabulary = 1 if learns_vocabulary(experiment.config.prompt.name) else 0
        self._baselines = most_baseline_exchanges(experiment)
        handlers = self._algorithm.handlers
        self._of_nodes = (
            not self._algorithm.has_server
        ) + self._algorithm.is_decentralised  # revealed; the mean scored
        self._of_nodes += "sharpness" in handlers
        self._selects = 1 if "select" in handlers else 0

    def of(self, rounds: int, evaluated: int) -> int:
        """The most exchanges of this many rounds, of which so many are evaluated; start, test and baselines included.

        The time that it takes does not depend on the rounds.
        """
        if not self._shares:
            return self._vocabulary
        settled, most = self._algorithm.settled_round, self._algorithm.most_exchanges
        training = sum(most(round_) for round_ in range(1, min(rounds + 1, settled)))
        training += max(0, rounds + 1 - settled) * most(settled)
        scores = 2 + self._of_nodes + evaluated * (1 + self._selects)
        return self._vocabulary + training + scores + self._baselines
