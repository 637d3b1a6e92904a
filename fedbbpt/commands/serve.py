"""`fedbbpt serve`: a backend for whoever asks over HTTP."""

from contextlib import closing
from pathlib import Path
from typing import Any

import click

from fedbbpt.errors import ConfigError, MissingExtra

DEFAULT_TASK = "digits"  # of backends that read images
SLOW_LINE = 600.0  # seconds that activations, which are large, may take to arrive


@click.command(short_help="Answer over HTTP with a backend.")
@click.option("--backend", "name", required=True, help="The model: a name of fedbbpt list backends.")
@click.option("--task", help="Whose classes are asked for  [default: digits for images; needed for texts].")
@click.option("--text-column", help="Of a table: the column of the texts  [default: text].")
@click.option("--label-column", help="Of a table: the column of the classes  [default: label].")
@click.option("-o", "assignments", multiple=True, metavar="KEY=VALUE", help="Options of the backend: -o model=smollm2.")
@click.option("--host", default="127.0.0.1", help="Where to listen; beyond 127.0.0.1 only with a token.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, help="0 takes a free one  [default: 8000].")
@click.option("--token-file", type=click.Path(path_type=Path), help="Of mode 600  [default: $FEDBBPT_TOKEN, or none].")
@click.option("--split", type=click.Choice(["body"]), help="Serve the body of a model that is cut, and nothing else.")
@click.option("--head-blocks", type=click.IntRange(0), help="Of --split: that the clients hold  [default: 1].")
@click.option("--tail-blocks", type=click.IntRange(0), help="Of --split: that the clients hold  [default: 1].")
@click.option("--max-body", type=click.IntRange(1), default=32, help="MiB of one request  [default: 32].")
@click.option("--max-pixels", type=click.IntRange(1), default=2**28, help="Of a request's images  [default: 2^28].")
@click.option("--concurrency", type=click.IntRange(1), default=64, help="Requests at a time  [default: 64].")
def serve(
    name: str,
    task: str | None,
    text_column: str | None,
    label_column: str | None,
    assignments: tuple[str, ...],
    host: str,
    port: int,
    token_file: Path | None,
    split: str | None,
    head_blocks: int | None,
    tail_blocks: int | None,
    max_body: int,
    max_pixels: int,
    concurrency: int,
) -> None:
    """Answer over HTTP with any backend: its own scores, and what OpenAI's clients ask for.

    POST /v1/classify, /v1/completions, /v1/chat/completions, /v1/embeddings; GET /v1/models, /healthz, /metrics,
    /openapi.json, which describes them all. Prints its URL when it is ready.

    With --split body it answers nobody's questions: it is the server of a model that is cut in three, for clients that
    hold head and tail, and train with fedbbpt train --algorithm sfprompt -o algorithm.body_url=URL.
    """
    try:
        from fedbbpt.backend import check_scores
        from fedbbpt.serve import MIB, RequestLimits
        from fedbbpt.serve.app import InferenceService
        from fedbbpt.serve.batching import model_thread
        from fedbbpt.serve.model import ServedModel
        from fedbbpt.serve.server import bind, serve_until_interrupted, url_of
        from fedbbpt.split_learning.server import BodyService
        from fedbbpt.web.auth import read_token
    except ImportError as e:
        raise MissingExtra("fedbbpt serve", "serve", e) from e

    if split is None and (head_blocks, tail_blocks) != (None, None):
        raise ConfigError("--head-blocks and --tail-blocks say where a model is cut: give --split body, too")
    token = read_token(token_file)
    how = (name, task, assignments, {"text_column": text_column, "label_column": label_column})
    limits = RequestLimits(max_body * MIB, max_pixels, concurrency)
    head, tail = (1 if blocks is None else blocks for blocks in (head_blocks, tail_blocks))
    try:
        with bind(host, port, token) as socket, model_thread() as thread:
            service: InferenceService | BodyService
            if split is None:
                backend, provider = thread.submit(opened, *how).result()
                check_scores(backend.info)
                service = InferenceService(thread, ServedModel(backend, provider), limits, token)
            else:
                body = thread.submit(cut, head, tail, *how).result()
                service = BodyService(thread, body, limits._replace(body_timeout=SLOW_LINE), token)
            with closing(service):
                socket.listen()
                click.echo(url_of(socket))
                serve_until_interrupted(service, socket)
    except KeyboardInterrupt:
        click.echo("\nStopped.", err=True)
        raise SystemExit(130) from None


def opened(name: str, task: str | None, assignments: tuple[str, ...], columns: dict[str, str | None]) -> Any:
    """The backend, and the provider of the task that it is opened for."""
    from fedbbpt.config.components import build, build_task, load_class, resolve
    from fedbbpt.config.settings import parse_assignment

    chosen = load_class("backends", name)
    backend = resolve("backends", name, dict(parse_assignment(text) for text in assignments))
    if task is None:
        if "image" not in chosen.modalities:
            raise ConfigError(f"the backend {name!r} reads texts: name the --task whose classes it is asked for")
        task = DEFAULT_TASK
    kind = load_class("tasks", task)
    if kind.modality not in chosen.modalities:
        raise ConfigError(f"the backend {name!r} does not go with {kind.modality}s, which the task {task} holds")
    columns = {key: column for key, column in columns.items() if column is not None}
    provider = build_task(resolve("tasks", task, columns)).provider
    return build("backends", backend, provider), provider


def cut(head: int, tail: int, name: str, task: str | None, assignments: tuple[str, ...], columns: Any) -> Any:
    """The body of a backend's model, behind its first `head` blocks and before its last `tail` ones."""
    from fedbbpt.config.components import load_class
    from fedbbpt.config.settings import parse_assignment
    from fedbbpt.split_learning.protocol import Splittable
    from fedbbpt.split_learning.server import ServedBody

    if not issubclass(load_class("backends", name), Splittable):
        raise ConfigError(f"the backend {name!r} has no model that can be cut; use --backend local-vit")
    backend, _ = opened(name, task, assignments, columns)
    given = dict(parse_assignment(text) for text in assignments).get("dtype")
    dtype = given or "float32"  # as algorithm.dtype, whose default is another than the backend's
    split = backend.partition_model(
        head_blocks=head,
        tail_blocks=tail,
        num_prompt_tokens=0,
        deep_prompt=False,
        num_classes=1,
        dtype=dtype,
        role="server",
    )
    return ServedBody(split, backend.info.model, head, tail)
