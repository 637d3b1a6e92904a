"""`fedbbpt serve` and `fedbbpt serve-body`: a backend, or the body of a partitioned model, over HTTP."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from fedbbpt.commands.completion import components
from fedbbpt.errors import ConfigError, MissingExtra
from fedbbpt.printing import told_if_slow

if TYPE_CHECKING:
    import socket
    from concurrent.futures import Executor

    from fedbbpt.backend import Backend, Provider
    from fedbbpt.serve.app import InferenceService
    from fedbbpt.serve.split_body import BodyService, ServedBody

DEFAULT_TASK = "digits"  # for backends that read images
BODY_TIMEOUT = 600.0  # seconds for activations to arrive: they are large


def _options(*options: Callable[[Any], Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    def add(command: Callable[..., None]) -> Callable[..., None]:
        for option in reversed(options):
            command = option(command)
        return command

    return add


backend_options = _options(
    click.option(
        "--backend",
        "name",
        required=True,
        shell_complete=components("backends"),
        help="Name of the model's backend: see fedbbpt list backends.",
    ),
    click.option(
        "-o", "assignments", multiple=True, metavar="KEY=VALUE", help="Option of the backend, such as -o model=smollm2."
    ),
)
server_options = _options(
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


@click.command(short_help="Serve a backend over HTTP.")
@backend_options
@click.option(
    "--task",
    shell_complete=components("tasks"),
    help="Task whose classes are scored  [default: digits for images; required for texts].",
)
@click.option("--text-column", help="Column of a table that holds the texts  [default: text].")
@click.option("--label-column", help="Column of a table that holds the classes  [default: label].")
@server_options
@click.option(
    "--max-pixels",
    type=click.IntRange(1),
    default=2**28,
    help="Maximum number of pixels in a request's images  [default: 2^28].",
)
def serve(
    name: str,
    assignments: tuple[str, ...],
    task: str | None,
    text_column: str | None,
    label_column: str | None,
    host: str,
    port: int,
    token_file: Path | None,
    max_body: int,
    concurrency: int,
    max_pixels: int,
) -> None:
    """Serve any backend over HTTP: its own scores, and the routes of the OpenAI API.

    POST /v1/classify, /v1/completions, /v1/chat/completions, /v1/embeddings; GET /v1/models, /healthz, /metrics, and
    /openapi.json, which describes all of them. Prints its URL once it is ready, and a request to try it with curl.
    """
    try:
        from fedbbpt.backend import check_scores
        from fedbbpt.serve import MIB, RequestLimits
        from fedbbpt.serve.app import InferenceService
        from fedbbpt.serve.example import curl_line
        from fedbbpt.serve.model import ServedModel
    except ImportError as e:
        raise MissingExtra("fedbbpt serve", "serve", e) from e

    columns = {"text_column": text_column, "label_column": label_column}
    with _listening(host, port, token_file) as (socket, thread, token):
        backend, provider = thread.submit(open_backend, name, task, assignments, columns).result()
        check_scores(backend.info)
        limits = RequestLimits(max_body * MIB, max_pixels, concurrency)
        model = ServedModel(backend, provider)
        example = partial(
            curl_line, reads_texts=model.reads_texts, needs_token=token is not None, token_file=token_file
        )
        _serve(InferenceService(thread, model, limits, token), socket, example)


@click.command(short_help="Serve the body of a partitioned model over HTTP.")
@backend_options
@click.option(
    "--head-blocks",
    type=click.IntRange(0),
    default=1,
    show_default=True,
    help="Number of transformer blocks before the body, held by the clients.",
)
@click.option(
    "--tail-blocks",
    type=click.IntRange(0),
    default=1,
    show_default=True,
    help="Number of transformer blocks after the body, held by the clients.",
)
@server_options
def serve_body(
    name: str,
    assignments: tuple[str, ...],
    head_blocks: int,
    tail_blocks: int,
    host: str,
    port: int,
    token_file: Path | None,
    max_body: int,
    concurrency: int,
) -> None:
    """Serve the body of a model that is partitioned for split learning.

    Clients hold the head and the tail, and train with fedbbpt train --algorithm sfprompt -o algorithm.body_url=URL.
    POST /v1/split/forward, /v1/split/backward; GET /v1/split, /healthz, /metrics. Prints its URL once it is ready.
    """
    try:
        from fedbbpt.serve import MIB, RequestLimits
        from fedbbpt.serve.split_body import BodyService
    except ImportError as e:
        raise MissingExtra("fedbbpt serve-body", "serve", e) from e

    with _listening(host, port, token_file) as (socket, thread, token):
        body = thread.submit(_open_body, name, assignments, head_blocks, tail_blocks).result()
        limits = RequestLimits(max_body * MIB, concurrency=concurrency, body_timeout=BODY_TIMEOUT)
        _serve(BodyService(thread, body, limits, token), socket)


@contextmanager
def _listening(
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


def _serve(
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


def _open_body(name: str, assignments: tuple[str, ...], head_blocks: int, tail_blocks: int) -> "ServedBody":
    """The body of a backend's model, without its first `head_blocks` and last `tail_blocks`."""
    from fedbbpt.config.components import load_class
    from fedbbpt.config.settings import parse_assignment
    from fedbbpt.serve.split_body import ServedBody
    from fedbbpt.split_learning.protocol import Splittable

    if not issubclass(load_class("backends", name), Splittable):
        raise ConfigError(f"the backend {name!r} has no model that can be partitioned; use --backend local-vit")
    backend = cast(Splittable, open_backend(name, None, assignments, {})[0])
    # float32 as algorithm.dtype has by default; the backend's own default is "auto".
    dtype: Any = dict(parse_assignment(text) for text in assignments).get("dtype", "float32")
    return ServedBody.of(backend, head_blocks, tail_blocks, dtype)
