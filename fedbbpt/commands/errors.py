"""Reports errors as one sentence on standard error, without a traceback and without terminal control characters."""

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import click

from fedbbpt.commands.interrupts import restore_ctrl_c
from fedbbpt.errors import FedbbptError, UnknownName
from fedbbpt.printing import excerpt, one_line

NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextmanager
def errors_as_sentences() -> Iterator[None]:
    """Turns the errors that a user can mend into `click.ClickException`, which click prints, with exit code 1.

    Characters that the encoding of standard output lacks are printed as escapes, so that printing raises no error.

    Raises:
        click.ClickException: a `FedbbptError`, a path or an output that cannot be used, or memory that ran out.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as standard error does by default
    try:
        yield
        if sys.stdout is not None:
            sys.stdout.flush()  # what cannot be written is an error now, and not at exit
    except FedbbptError as e:
        raise click.ClickException(one_line(str(e))) from e
    except (click.NoSuchOption, click.exceptions.NoSuchCommand) as e:
        raise _unknown_word(e) from e
    except OSError as e:
        if e.filename is None:
            if e.errno not in NO_SPACE:
                raise
            with suppress(OSError, ValueError):  # nothing more is written at exit; stdout may have no descriptor
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise click.ClickException(
                f"cannot print: {os.strerror(e.errno).lower()}; free some space; a run or bench that had begun "
                "continues with --resume"
            ) from e
        reason = (e.strerror or type(e).__name__).lower()
        raise click.ClickException(f"cannot use {excerpt(os.fsdecode(e.filename))}: {reason}") from e
    except (MemoryError, RuntimeError) as e:
        if isinstance(e, RuntimeError) and not _is_torch_out_of_memory(e):
            raise
        raise click.ClickException(
            "out of memory; lower -o backend.max_activation_mib=MIB or -o algorithm.batch_size=N"
        ) from e


def print_error(error: FedbbptError) -> None:
    """Prints an error after which the command goes on."""
    click.echo(f"Error: {one_line(str(error))}", err=True)


def _unknown_word(error: "click.NoSuchOption | click.exceptions.NoSuchCommand") -> click.ClickException:
    """The error about an option or a command that does not exist, with the nearest ones."""
    if (ctx := error.ctx) is None:
        return error
    if isinstance(error, click.NoSuchOption):
        options = [option for parameter in ctx.command.get_params(ctx) for option in parameter.opts]
        unknown = UnknownName("option", error.option_name, [option for option in options if option.startswith("-")])
    else:
        assert isinstance(ctx.command, click.Group)
        unknown = UnknownName("command", error.command_name, ctx.command.list_commands(ctx))
    return click.UsageError(one_line(str(unknown)), ctx)


def _is_torch_out_of_memory(error: RuntimeError) -> bool:
    """Whether torch ran out of memory, on a GPU or the CPU; decided without importing torch."""
    return type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error)


class Program(click.Command):
    """A command started from a shell: its errors are one sentence each, and Ctrl-C stops it, also in the background."""

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Parses the arguments; --help and --version are printed here."""
        with errors_as_sentences():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command."""
        restore_ctrl_c()
        with errors_as_sentences():
            return super().invoke(ctx)
