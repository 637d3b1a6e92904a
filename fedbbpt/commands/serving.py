"""What `fedbbpt serve` and `fedbbpt serve-body` share: options, the opened backend, and the server."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fedbbpt.commands.completion import components
from fedbbpt.commands.options import Decorator, options
from fedbbpt.errors import ConfigError
from fedbbpt.printing import told_if_slow

if TYPE_CHECKING:
    import socket
    from concurrent.futures import Executor

    from fedbbpt.backend import Backend, Provider
    from fedbbpt.serve.app import InferenceService
    from fedbbpt.serve.split_body import BodyService

DEFAULT_TASK = "digits"  # for backends that read images


def backend_options(*, required: bool) -> Decorator:
    """Adds the options that name a backend."""
    return options(
        click.option(
            "--backend",
            "name",
            required=required,
            shell_complete=components("backends"),
            help="Name of the model's backend: see fedbbpt list backends.",
        ),
        click.option(
            "-o",
            "assignments",
            multiple=True,
            metavar="KEY=VALUE",
            help="Option of the backend, such as -o model=smollm2.",
        ),
    )


server_options = options(
    click.option(
        "--host", default="127.0.0.1", show_default=True, help="Address to listen on; any other needs a token."
    ),
    click.option(
        "--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="Port; 0 takes a free one."
    ),
    click.option(
        "--token-file",
        type=click.Path(path_type=Path),
        help="File of mode 600 with the token that clients must send  [default: $FEDBBPT_TOKEN, else no token].",
    ),
    click.option(
        "--max-body", type=click.IntRange(1), default=32, show_default=True, help="Largest request body, in MiB."
    ),
    click.option(
        "--concurrency",
        type=click.IntRange(1),
        default=64,
        show_default=True,
        help="Maximum number of requests handled at a time.",
    ),
)


@contextmanager
def listening(
    host: str, port: int, token_file: Path | None
) -> Iterator[tuple["socket.socket", "Executor", str | None]]:
    """A bound socket, the model's thread, and the token, until Ctrl-C."""
    from fedbbpt.serve.batching import model_thread
    from fedbbpt.serve.server import bind
    from fedbbpt.web.auth import read_token

    token = read_token(token_file)
    try:
        with bind(host, port, token) as bound, model_thread() as thread:
            yield bound, thread, token
    except KeyboardInterrupt:
        click.echo("\nStopped.", err=True)
        raise SystemExit(130) from None


def run_service(
    service: "InferenceService | BodyService", bound: "socket.socket", example: Callable[[str], str] | None = None
) -> None:
    """Serves until Ctrl-C; first prints the URL, and the example of a request to it."""
    from fedbbpt.serve.server import serve_until_interrupted, url_of

    with closing(service):
        bound.listen()
        click.echo(url := url_of(bound))
        if example is not None:
            click.echo(example(url))
        serve_until_interrupted(service, bound)


def open_backend(
    name: str, task: str | None, assignments: tuple[str, ...], columns: Mapping[str, str | None]
) -> "tuple[Backend, Provider]":
    """Opens a backend for a task; gives the task's provider, too.

    Raises:
        ConfigError: there is no such backend, task or option, or the backend cannot read the task's inputs.
    """
    from fedbbpt.config.components import build, build_task, load_class, resolve, task_modality
    from fedbbpt.config.settings import parse_assignment
    from fedbbpt.run.opening import loading

    backend_class = load_class("backends", name)
    backend = resolve("backends", name, dict(parse_assignment(text) for text in assignments))
    if task is None:
        if "image" not in backend_class.modalities:
            raise ConfigError(f"the backend {name!r} reads texts: give the --task whose classes it scores")
        task = DEFAULT_TASK
    given = {key: column for key, column in columns.items() if column is not None}
    component = resolve("tasks", task, given)
    if (modality := task_modality(component)) not in backend_class.modalities:
        raise ConfigError(f"the backend {name!r} cannot read {modality}s, which the task {task} holds")
    provider = build_task(component).provider
    with told_if_slow(loading(backend)):
        return build("backends", backend, provider), provider
