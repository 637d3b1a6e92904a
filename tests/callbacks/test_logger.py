"""Which numbers loggers log, and how they fail."""

import math

import pytest

from fedbbpt.callbacks import open_callback
from fedbbpt.callbacks.logger import Logger, finite, numbers_of, results_of, settings_of
from fedbbpt.config import make_config
from fedbbpt.errors import ConfigError, RunError, UnknownName


class Failing(Logger):
    """Logs nowhere: what is in `fails` fails."""

    name = "failing"

    def __init__(self, *fails: str) -> None:
        super().__init__("http://me:secret@there/")
        self.fails = fails

    def start(self, title, fingerprint, settings, rounds_done) -> None:
        self._do("start")

    def log(self, numbers, round_) -> None:
        self._do("log")

    def finish(self, results) -> None:
        self._do("finish")

    def stop(self) -> None:
        self._do("stop")

    def _do(self, what: str) -> None:
        if what in self.fails:
            raise ConnectionError("nobody\nat http://me:secret@there/api")


@pytest.mark.parametrize("what", ["start", "log", "finish", "stop"])
def test_an_error_of_a_service_is_one_sentence(tell, what):
    with pytest.raises(
        RunError, match=r"the callback failing cannot log \(ConnectionError: nobody at http://there/api\); nothing of"
    ):
        tell(Failing(what))
    tell(Failing())


def test_rows_are_logged_as_finite_numbers(recorded):
    start, first, test = map(numbers_of, recorded.rows)
    assert {"validation/accuracy", "validation/loss", "cost/queries", "cost/bytes_up"} <= start.keys()
    assert first["train/loss"] == recorded.rows[1]["train_loss"]
    assert test.keys() == {"test/accuracy", "test/loss"}
    billed = {**recorded.rows[0], "billed": {"cost": 0.5, "queries": 3}, "left_out": {"client-000": "why"}}
    assert numbers_of(billed) == start | {"billed/cost": 0.5, "billed/queries": 3}
    assert finite({"a": math.nan, "b": math.inf, "c": None, "d": True, "e": "5", "f": 1}) == {"f": 1}


def test_of_the_summary_no_client_is_logged(recorded, private):
    results = results_of(recorded.summary)
    assert results["test_accuracy"] == recorded.summary["test_accuracy"]
    assert results["zero_shot_won"] == recorded.summary["paired"]["zero_shot"]["won"]
    assert not results.keys() & private
    assert all(isinstance(number, int | float) for number in results.values())


def test_settings_are_names_and_numbers():
    config = make_config({"rounds": 1, "task": {"name": "csv:/home/me/secret.csv", "text_column": "secret"}})
    assert "secret" not in str(settings_of(config))
    assert settings_of(config)["task"] == "csv"


@pytest.mark.parametrize("spec", ["tensorboard", "tensorboard:", ""])
def test_a_callback_has_a_target(spec):
    with pytest.raises(ConfigError, match="expected a callback as NAME:TARGET, got"):
        open_callback(spec)


def test_an_unknown_callback_is_named():
    with pytest.raises(UnknownName, match=r"tensorboard"):
        open_callback("tensorbord:x")
