"""A finished run, as its folder alone tells: neither the data nor, where it was only queried, the model is opened."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from fedbbpt.algorithms import ServerState
from fedbbpt.backend import Backend, BackendInfo
from fedbbpt.config.components import load_class
from fedbbpt.errors import RunError
from fedbbpt.run.again import load_best
from fedbbpt.run.environment import Environment, read_provider_data, read_results
from fedbbpt.run.experiment import ClientRecord, Clients, Experiment
from fedbbpt.run.model import build_model, load_backend
from fedbbpt.run.opening import Sketch
from fedbbpt.run.resume import read_run
from fedbbpt.run.saved_task import RecordingProvider, SavedTask
from fedbbpt.types import Traffic, Usage


@dataclass(frozen=True)
class FinishedRun(Experiment):
    """A run that is over, for its report."""

    record: Environment
    records: Sequence[ClientRecord]
    setup: Usage
    data_description: Sequence[tuple[str, str]] = ()
    provider: RecordingProvider | None = None

    @property
    def client_records(self) -> Sequence[ClientRecord]:
        """See `Experiment`."""
        return self.records

    @property
    def data_sha256(self) -> str:
        """See `Experiment`."""
        return self.record.data_sha256

    @property
    def vocabulary_traffic(self) -> Traffic:
        """See `Experiment`; what it was is in the run's totals."""
        return Traffic()

    def open_clients(self, folder: Path) -> Clients:
        """Raises RunError: their data are not here."""
        raise RunError(f"the run of {folder} is over; its clients are opened with fedbbpt eval")


def open_finished(out: Path) -> tuple[FinishedRun, ServerState]:
    """Opens the finished run of a folder; returns it with its best parameters.

    Raises:
        RunError: there is no finished run, or its files have changed.
    """
    config, environment = read_run(out)
    summary, _ = read_results(out)
    task = SavedTask(environment.task, read_provider_data(out, environment))
    info = TypeAdapter(BackendInfo).validate_python(environment.backend.model_dump())
    backend: Backend = Sketch(info)
    if load_class("algorithms", config.algorithm.name).access == "white-box":  # it knows the model's parts
        backend = load_backend(config, task, task.provider)
    model = build_model(config, task, backend)
    records = [
        ClientRecord(name, *(one[subset] for subset in ("train", "validation", "test")))
        for name, one in summary["clients"].items()
    ]
    parts = (model.config, model.task, model.backend, model.prompt, model.readout)
    run = FinishedRun(*parts, environment, records, Usage(*environment.setup))
    return run, load_best(out, run)[1]
