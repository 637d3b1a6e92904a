"""Errors of ours as one sentence on standard error, without a traceback or what a terminal would obey."""

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import click

from fedbbpt.commands.interrupts import restore_ctrl_c
from fedbbpt.errors import FedbbptError
from fedbbpt.printing import excerpt, one_line

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}  # of a file that output goes to


@contextmanager
def one_sentence() -> Iterator[None]:
    """Turns what goes wrong inside into what click prints, with exit code 1.

    A character that the output's encoding does not have is printed as an escape, so that it does not go wrong itself.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as standard error has it anyway
    try:
        yield
    except FedbbptError as e:
        raise click.ClickException(one_line(str(e))) from e
    except OSError as e:  # of a path that the system does not take, wherever it is looked at
        if e.filename is None:
            if e.errno not in FULL:
                raise
            _drop_output()
            raise click.ClickException(
                f"cannot write what is printed: {os.strerror(e.errno).lower()}; free some space; --resume goes on with "
                "a run or bench that had begun"
            ) from e
        reason = (e.strerror or type(e).__name__).lower()
        raise click.ClickException(f"cannot use {excerpt(os.fsdecode(e.filename))}: {reason}") from e
    except (MemoryError, RuntimeError) as e:
        if not isinstance(e, MemoryError) and not _torch_ran_out(e):
            raise
        raise click.ClickException("out of memory; lower -o backend.memory=MIB or -o algorithm.batch_size=N") from e


def _drop_output() -> None:
    """What was printed and could not be written is not tried once more at the end."""
    with suppress(OSError, ValueError):  # there may be nothing of the system behind it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def say(error: FedbbptError) -> None:
    """Prints an error after which a command goes on."""
    click.echo(f"Error: {one_line(str(error))}", err=True)


def _torch_ran_out(error: RuntimeError) -> bool:
    """Of memory, on a GPU or elsewhere; asked without importing torch."""
    return type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error)


class Command(click.Command):
    """A command that is a program of its own."""

    def invoke(self, ctx: click.Context) -> Any:
        """Runs it."""
        restore_ctrl_c()
        with one_sentence():
            return super().invoke(ctx)
