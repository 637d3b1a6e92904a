"""`fedbbpt serve`: a backend, or a tuned model, over HTTP."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fedbbpt.commands.completion import components, runs
from fedbbpt.commands.serving import backend_options, listening, open_backend, run_service, server_options
from fedbbpt.commands.tuned import load_tuned, loading_options
from fedbbpt.errors import ConfigError, MissingExtra

if TYPE_CHECKING:
    from fedbbpt.serve.model import ServedModel

ABOUT_TASK = ("task", "text_column", "label_column")


@click.command(short_help="Serve a tuned run, or any backend, over HTTP.")
@click.argument("folder", metavar="[RUN]", required=False, shell_complete=runs, type=click.Path(path_type=Path))
@backend_options(required=False)
@click.option(
    "--task",
    shell_complete=components("tasks"),
    help="Task whose classes are scored  [default: digits for images; required for texts].",
)
@click.option("--text-column", help="Column of a table that holds the texts  [default: text].")
@click.option("--label-column", help="Column of a table that holds the classes  [default: label].")
@loading_options
@server_options
@click.option(
    "--max-pixels",
    type=click.IntRange(1),
    default=2**28,
    help="Maximum number of pixels in a request's images  [default: 2^28].",
)
def serve(
    folder: Path | None,
    name: str | None,
    assignments: tuple[str, ...],
    host: str,
    port: int,
    token_file: Path | None,
    max_body: int,
    concurrency: int,
    max_pixels: int,
    **given: Any,
) -> None:
    """Serve what a run has learned in front of its model, or any backend, over HTTP.

    RUN is the folder of a run, or an exported one. Its page at / compares answers before and after tuning. Without
    RUN, --backend serves a model as it is.

    POST /v1/classify, /v1/completions, /v1/chat/completions, /v1/embeddings, and /v1/compare of a run; GET /v1/models,
    /healthz, /metrics, and /docs, which describes all of them. Prints its URL once it is ready, and a
    request to try it with curl.
    """
    try:
        from fedbbpt.serve import MIB, RequestLimits
        from fedbbpt.serve.app import InferenceService
        from fedbbpt.serve.example import curl_line
    except ImportError as e:
        raise MissingExtra("fedbbpt serve", "serve", e) from e

    if (folder is None) == (name is None):
        raise ConfigError("give the folder of a run, or the --backend of a model to serve as it is")
    with listening(host, port, token_file) as (socket, thread, token):
        opened = thread.submit(_open, folder, name, assignments, given).result()
        limits = RequestLimits(max_body * MIB, max_pixels, concurrency)
        example = partial(
            curl_line, reads_texts=opened.reads_texts, needs_token=token is not None, token_file=token_file
        )
        run_service(InferenceService(thread, opened, limits, token), socket, example)


def _open(
    folder: Path | None, name: str | None, assignments: tuple[str, ...], given: Mapping[str, Any]
) -> "ServedModel":
    """The tuned model of a run's folder, or the backend of that name; one of the two is None."""
    from fedbbpt.backend import Provider, check_scores
    from fedbbpt.serve.model import ServedModel

    unwanted = [key for key, value in given.items() if value and (key in ABOUT_TASK) == (folder is not None)]
    if unwanted:
        meant = "a model as it is" if folder else "a run"
        raise ConfigError(f"--{unwanted[0].replace('_', '-')} is for {meant}; leave it out")
    if folder is not None:
        model = load_tuned(folder, assignments, given)
        words = model.state.task.label_words
        provider = Provider(model.classes, label_words=None if words is None else tuple(words))
        return ServedModel(model.backend, provider, tuned=model.backend)
    assert name is not None  # as the command has checked
    columns = {key: given[key] for key in ("text_column", "label_column")}
    backend, provider = open_backend(name, given["task"], assignments, columns)
    check_scores(backend.info)
    return ServedModel(backend, provider)
