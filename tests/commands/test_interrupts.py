"""Ctrl-C stops a program also where a shell started it in the background."""

import signal
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from fedbbpt.cli import main
from fedbbpt.commands.errors import Program


@pytest.fixture
def background() -> Iterator[None]:
    """Ignores SIGINT, as in a job that a shell started in the background."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("background")
@pytest.mark.parametrize(
    ("program", "arguments"), [(main, ["list", "engines"]), (Program("own", callback=lambda: None), [])]
)
def test_ctrl_c_works_in_the_background(program: click.Command, arguments: list[str]) -> None:
    assert CliRunner().invoke(program, arguments).exit_code == 0
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_another_handler_stays() -> None:
    received: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: received.append(number))
    try:
        CliRunner().invoke(main, ["list", "engines"])
        signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
    assert received == [signal.SIGINT]
