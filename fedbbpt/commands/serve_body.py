"""`fedbbpt serve-body`: the body of a partitioned model over HTTP."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from fedbbpt.commands.serving import backend_options, listening, open_backend, run_service, server_options
from fedbbpt.errors import ConfigError, MissingExtra

if TYPE_CHECKING:
    from fedbbpt.serve.split_body import ServedBody

BODY_TIMEOUT = 600.0  # seconds for activations to arrive: they are large


@click.command(short_help="Serve the body of a partitioned model over HTTP.")
@backend_options(required=True)
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

    with listening(host, port, token_file) as (socket, thread, token):
        body = thread.submit(_open_body, name, assignments, head_blocks, tail_blocks).result()
        limits = RequestLimits(max_body * MIB, concurrency=concurrency, body_timeout=BODY_TIMEOUT)
        run_service(BodyService(thread, body, limits, token), socket)


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
