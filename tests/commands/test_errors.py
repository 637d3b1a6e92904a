"""Errors are one sentence, without a traceback."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
import torch
from click.testing import CliRunner

from fedbbpt.cli import main
from fedbbpt.commands.errors import Program
from fedbbpt.errors import RunError


def invoke(error: Exception) -> tuple[int, str]:
    @click.command(cls=Program)
    def fails() -> None:
        raise error

    result = CliRunner().invoke(fails)
    return result.exit_code, result.output


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (RunError("no run in x"), "no run in x"),
        (MemoryError(), "out of memory"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "cannot print: no space left on device"),
        (torch.OutOfMemoryError("CUDA"), "out of memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 1 bytes"), "out of memory"),
    ],
)
def test_errors_have_no_traceback(error: Exception, message: str) -> None:
    code, output = invoke(error)
    assert (code, output.count("\n")) == (1, 1)
    assert f"Error: {message}" in output


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["trian"], "unknown command 'trian'. Did you mean 'train'? The nearest of "),
        (["bnch"], "unknown command 'bnch'. Did you mean 'bench'?"),  # by entry point
        (["assets", "gte"], "unknown command 'gte'. Did you mean 'get'? Known: get, list, path, verify."),
        (["train", "--taks"], "unknown option '--taks'. Did you mean '--task'? The nearest of "),
        (["-x"], "unknown option '-x'."),
    ],
)
def test_unknown_words_list_the_nearest(arguments: list[str], says: str) -> None:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert f"Error: {says}" in result.stderr
    assert len(result.stderr.partition("The nearest of ")[2].split(", ")) <= 5


def test_a_message_stays_on_one_line() -> None:
    code, output = invoke(RunError("no run in \x1b[31m\nx\ud83d"))
    assert (code, output) == (1, "Error: no run in \\x1b[31m\\nx\\ud83d\n")


def test_characters_that_the_encoding_lacks_are_escaped() -> None:
    @click.command(cls=Program)
    def prints() -> None:
        click.echo("süß 日")

    result = CliRunner(charset="latin-1").invoke(prints, catch_exceptions=False)
    assert result.stdout == "süß \\u65e5\n"


def test_a_bug_keeps_its_traceback() -> None:
    @click.command(cls=Program)
    def fails() -> None:
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        CliRunner().invoke(fails, catch_exceptions=False)


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["serve", "--help"], ["list", "engines"]])
@pytest.mark.parametrize("terminal", ["xterm", None])
def test_an_output_that_cannot_be_written_is_one_sentence(arguments: list[str], terminal: str | None) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "TERM"}
    environment |= {"TERM": terminal} if terminal else {}
    command = [sys.executable, "-m", "fedbbpt", *arguments]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False, env=environment)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: cannot print: no space left on device")
    assert done.stderr.count("\n") == 1
