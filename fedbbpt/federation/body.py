"""The body of a split model at a federation's server, for the clients at the sites."""

from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from fedbbpt.config import Config
from fedbbpt.config.components import load_class
from fedbbpt.config.schema import ComponentConfig
from fedbbpt.data import Task
from fedbbpt.errors import ConfigError, MissingExtra
from fedbbpt.federation.body_link import BODY_URL, BodyReply, BodyRequest
from fedbbpt.federation.channel import Channel
from fedbbpt.federation.messages import Request, Response
from fedbbpt.run.model import load_backend
from fedbbpt.split_learning.protocol import Splittable
from fedbbpt.split_learning.sfprompt import SFPrompt
from fedbbpt.web.retry_after import retry_after

if TYPE_CHECKING:
    import httpx2
    from anyio.from_thread import BlockingPortal

    from fedbbpt.serve.split_body import ServedBody

ROUTES = "/v1/split"  # what they begin with


def with_body_at_server(config: Config) -> Config:
    """The config of a run over a federation: if its algorithm splits the model, the body is at the server.

    Raises:
        ConfigError: the body is said to be elsewhere, or is trained, which it cannot be there.
    """
    name, options = config.algorithm.name, config.algorithm.options
    if not issubclass(load_class("algorithms", name), SFPrompt) or options["topology"] != "split":
        return config
    if options["body_url"] is not None:
        raise ConfigError("over a federation, its server runs the body: leave out algorithm.body_url")
    if options["trainable"] == "full":
        raise ConfigError("over a federation, the body stays as it is: leave out algorithm.trainable=full")
    algorithm = ComponentConfig(name=name, options={**options, "body_url": BODY_URL})
    return config.model_copy(update={"algorithm": algorithm})


@contextmanager
def serving_body(config: Config, task: Task, channel: Channel) -> Iterator[None]:
    """Runs the body for the sites while the context lasts, if it is here.

    It is the service of `fedbbpt serve-body`, called in this process: nothing listens for it.

    Raises:
        ConfigError: the backend's model cannot be opened or cut.
        MissingExtra: a package is not installed.
    """
    if config.algorithm.options.get("body_url") != BODY_URL:
        yield
        return
    try:
        import httpx2
        from anyio.from_thread import start_blocking_portal

        from fedbbpt.serve import RequestLimits
        from fedbbpt.serve.batching import model_thread
        from fedbbpt.serve.split_body import MAX_BODY, BodyService
    except ImportError as e:
        raise MissingExtra("a body at the server", "federation", e) from e

    with model_thread() as thread, start_blocking_portal() as portal:
        body = thread.submit(_open, config, task).result()
        service = BodyService(thread, body, RequestLimits(max_body=MAX_BODY))
        transport = httpx2.ASGITransport(app=service.app)
        client = httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1")
        channel.answer_with(partial(_answer, portal, client))
        try:
            yield
        finally:
            service.close()


def _open(config: Config, task: Task) -> "ServedBody":
    """The body of a model of its own: the run's has the other parts."""
    from fedbbpt.serve.split_body import ServedBody

    backend, options = load_backend(config, task, task.provider), config.algorithm.options
    assert isinstance(backend, Splittable)  # else the run would have no algorithm
    return ServedBody.of(backend, options["head_blocks"], options["tail_blocks"], options["dtype"])


def _answer(portal: "BlockingPortal", client: "httpx2.AsyncClient", content: bytes) -> bytes:
    """The answer to a site's request. See `Answer`."""
    try:
        method, path, query, message = BodyRequest.of(Request.from_bytes(content))
        if not path.startswith(ROUTES):
            raise ValueError("a body has no such route")
    except ValueError as e:
        return Response.without_result("refused", f"the request cannot be read: {e}").to_bytes()
    send: Any = partial(client.request, method, path, params=dict(query), content=message)
    try:
        reply = portal.call(send)
    except (RuntimeError, CancelledError):  # the portal has ended
        return Response.without_result("refused", "the run has ended").to_bytes()
    return BodyReply(reply.status_code, retry_after(reply.headers) or 0.0, reply.content).to_response().to_bytes()
