"""Logs a run to MLflow, in a folder or at a tracking server."""

import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedbbpt.callbacks.logger import Logger
from fedbbpt.errors import MissingExtra

EXPERIMENT = "fedbbpt"
TAG = "fedbbpt.fingerprint"


class MLflow(Logger):
    """Logs to MLflow: `mlflow:DIR`, or the URI of a tracking server or a database.

    Look at a folder with `mlflow ui --backend-store-uri sqlite:///DIR/mlflow.db`. A resumed run goes on in its run
    there. MLflow's own telemetry is off.
    """

    name = "mlflow"

    def __init__(self, target: str, /) -> None:
        super().__init__(target)
        os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # which is read at the import
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")  # by default, a run waits for minutes
        try:
            import alembic  # noqa: F401
            import sqlalchemy  # noqa: F401
            from mlflow.entities import Metric, Param
            from mlflow.tracking import MlflowClient
        except ImportError as e:
            raise MissingExtra("the callback mlflow", "mlflow", e) from e
        logging.getLogger("mlflow").setLevel(logging.WARNING)  # its tables are of no interest to the user
        self._client_of, self._metric, self._param = MlflowClient, Metric, Param
        self._client: Any = None
        self._run = ""

    def start(self, title: str, fingerprint: str, settings: Mapping[str, Any], rounds_done: int) -> None:
        """See `Logger`."""
        place = None
        uri = self.target
        if "://" not in uri and not uri.startswith("databricks"):
            folder = Path(uri).absolute()
            folder.mkdir(parents=True, exist_ok=True)
            uri, place = f"sqlite:///{folder / 'mlflow.db'}", (folder / "artifacts").as_uri()
        client = self._client_of(tracking_uri=uri)
        known = client.get_experiment_by_name(EXPERIMENT)
        experiment = known.experiment_id if known else client.create_experiment(EXPERIMENT, artifact_location=place)
        query = f"tags.`{TAG}` = '{fingerprint}' and attributes.status != 'FINISHED'"
        earlier = client.search_runs([experiment], query) if rounds_done else []
        if earlier:
            self._run = earlier[0].info.run_id
            client.set_terminated(self._run, "RUNNING")
        else:
            self._run = client.create_run(experiment, tags={TAG: fingerprint}, run_name=title).info.run_id
            client.log_batch(self._run, params=[self._param(name, str(value)) for name, value in settings.items()])
        self._client = client

    def log(self, numbers: Mapping[str, float], round_: int) -> None:
        """See `Logger`."""
        now = int(1000 * time.time())
        self._client.log_batch(self._run, [self._metric(name, n, now, round_) for name, n in numbers.items()])

    def finish(self, results: Mapping[str, float]) -> None:
        """See `Logger`."""
        self.log({f"summary/{name}": number for name, number in results.items()}, int(results["rounds"]))

    def stop(self) -> None:
        """See `Logger`."""
        if self._client is not None:
            self._client.set_terminated(self._run, "FINISHED" if self.is_complete else "KILLED")
