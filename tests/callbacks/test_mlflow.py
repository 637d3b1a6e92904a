"""MLflow in a folder, read back."""

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from mlflow.tracking import MlflowClient

from fedbbpt.callbacks import open_callback
from fedbbpt.cli import main
from fedbbpt.errors import MissingExtra
from tests.callbacks.test_tensorboard import scalars

pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.filterwarnings("ignore:The ..noload:DeprecationWarning"),  # what MLflow asks of its own database
]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder, whose tables take seconds to make."""
    return tmp_path_factory.mktemp("mlflow") / "new"


def runs(store: Path) -> list:
    """All runs, latest first."""
    client = MlflowClient(tracking_uri=f"sqlite:///{store / 'mlflow.db'}")
    found = client.get_experiment_by_name("fedbbpt")
    return list(client.search_runs([found.experiment_id], order_by=["attributes.start_time DESC"]))


def test_rows_and_summary_are_logged(tell, recorded, store, private):
    tell(open_callback(f"mlflow:{store}"))
    (run,) = runs(store)
    assert run.info.status == "FINISHED"
    assert run.data.params["data.shots_per_class"] == "2"
    assert run.data.metrics["summary/test_accuracy"] == recorded.summary["test_accuracy"]
    client = MlflowClient(tracking_uri=f"sqlite:///{store / 'mlflow.db'}")
    history = client.get_metric_history(run.info.run_id, "validation/accuracy")
    assert [(one.step, one.value) for one in history] == [(row["round"], row["accuracy"]) for row in recorded.rows[:2]]
    content = (store / "mlflow.db").read_bytes()
    assert not any(word.encode() in content for word in private - {str(Path.home())})


def test_a_resumed_run_goes_on_in_its_own(tell, store):
    before = len(runs(store))
    tell(open_callback(f"mlflow:{store}"), slice(0, 1), complete=False)
    stopped = runs(store)[0]
    assert stopped.info.status == "KILLED"
    tell(open_callback(f"mlflow:{store}"), slice(1, 3), done=1)
    assert len(runs(store)) == before + 1
    resumed = next(run for run in runs(store) if run.info.run_id == stopped.info.run_id)
    assert resumed.info.status == "FINISHED"
    assert "test/accuracy" in resumed.data.metrics


def test_the_command_logs_to_several(store, quick, tmp_path):
    targets = ["--callback", f"mlflow:{store}", "--callback", f"tensorboard:{tmp_path / 'board'}"]
    result = CliRunner().invoke(main, ["train", *quick, *targets, "--out", str(tmp_path / "run")])
    assert result.exit_code == 0, result.output
    accuracy = scalars(tmp_path / "board")["summary/test_accuracy", 1]
    assert runs(store)[0].data.metrics["summary/test_accuracy"] == pytest.approx(accuracy)


def test_without_the_extra_it_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    with pytest.raises(MissingExtra, match=r"pip install 'fedbbpt\[mlflow\]'"):
        open_callback(f"mlflow:{tmp_path}")
