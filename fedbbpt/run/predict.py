"""Classifies new images or texts with the best checkpoint of a run."""

from pathlib import Path

import numpy as np

from fedbbpt.algorithms import Algorithm
from fedbbpt.config.components import load_class
from fedbbpt.data.images import open_image
from fedbbpt.data.texts import as_texts, open_text
from fedbbpt.errors import BackendError, RunError
from fedbbpt.run import checkpoint
from fedbbpt.run.environment import read_provider_data
from fedbbpt.run.model import open_model, prepared
from fedbbpt.run.resume import check_config_unchanged, read_run
from fedbbpt.run.saved_task import SavedTask
from fedbbpt.services import RequestRejected
from fedbbpt.services.ledger import Account
from fedbbpt.types import Dataset


class Predictor:
    """Queries a run's model under the parameters of its best checkpoint; needs none of the task's data.

    Raises:
        RunError: no trained run in the folder, or its config has changed.
    """

    def __init__(self, folder: Path) -> None:
        config, environment = read_run(folder)
        algorithm: type[Algorithm] = load_class("algorithms", config.algorithm.name)
        if not algorithm.shares_parameters:
            raise RunError(f"the clients of {folder} share no parameters (algorithm {config.algorithm.name})")
        if algorithm.access == "white-box":
            raise RunError(f"the run in {folder} trained parts of the model, which predict does not put in")
        progress, best = checkpoint.load_best(folder)
        check_config_unchanged(config, progress, folder)
        if "prompt" not in best.parameters:
            raise RunError(f"the nodes of {folder} keep the parameters until its rounds are over: finish it (--resume)")
        model = prepared(
            open_model(config, SavedTask(environment.task, read_provider_data(folder, environment))), Account()
        )
        self._parameters = best.parameters
        self._classes = model.task.classes
        self._objective = model.objective

    def __call__(self, file: Path) -> tuple[str, float]:
        """The likeliest class of a picture, or of a text, and its probability.

        Raises:
            DataError: the file is not what the model reads.
            RequestRejected: a service does not take the file.
            BackendError: the model did not answer.
        """
        objective = self._objective
        size = objective.backend.info.input_size
        inputs = open_image(file, size)[None] if size else as_texts([open_text(file)])
        batch = Dataset(inputs, np.zeros(1, np.int64)).batch(slice(None))
        batch = batch._replace(features=objective.prompt.features(batch.inputs))
        scores = objective.answers(self._parameters["prompt"][None], batch)[0]
        log_p = objective.readout.log_probabilities(self._parameters["readout"], scores)[0]
        if np.isnan(log_p).any():
            client = objective.backend.service_client
            if client and client.refusals.last_error:
                raise RequestRejected(f"the service did not answer the query for {file}: {client.refusals.last_error}")
            raise BackendError(f"the model did not answer the query for {file}; try again")
        best = int(log_p.argmax())
        return self._classes[best], float(np.exp(log_p[best]))
