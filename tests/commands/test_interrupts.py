import signal
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from fedbbpt.cli import main
from fedbbpt.commands.errors import Program


@pytest.fixture
def background() -> Iterator[None]:
    """As in a job that a shell started in the background."""
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


def test_a_handler_of_others_stays() -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: heard.append(number))
    try:
        CliRunner().invoke(main, ["list", "engines"])
        signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
    assert heard == [signal.SIGINT]
