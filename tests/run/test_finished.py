"""A finished run is opened from its folder alone."""

import pytest

from fedbbpt.errors import RunError
from fedbbpt.run import train
from fedbbpt.run.finished import open_finished
from fedbbpt.run.report.page import write_report


@pytest.mark.parametrize("settings", [{}, {"prompt": "none"}, {"algorithm": "gossip"}, {"algorithm": "ensemble"}])
def test_its_report_is_that_of_the_run_itself(make_report, monkeypatch, settings):
    report = make_report(rounds=1, **settings)
    before = (report.folder / "report.html").read_bytes()
    monkeypatch.delattr(train, "open_simulation")
    assert write_report(report.folder, *open_finished(report.folder)).read_bytes() == before


def test_its_clients_are_not_opened(make_report):
    report = make_report(rounds=0)
    run, _ = open_finished(report.folder)
    assert run.client_sizes == report.experiment.client_sizes
    with pytest.raises(RunError, match="is over; its clients are opened with fedbbpt eval"):
        run.open_clients(report.folder)
