"""A transport to a body that another process runs: `fedbbpt serve-body`."""

import json
import secrets
from typing import Literal, NamedTuple

from fedbbpt.errors import BackendError, ConfigError
from fedbbpt.printing import excerpt
from fedbbpt.split_learning.activations import ActivationDtype, pack, unpack_untrusted
from fedbbpt.split_learning.http_retry import RESUME, HttpResult, Link, RetryingClient
from fedbbpt.split_learning.transport import NO_FORWARD, Transport
from fedbbpt.types import Float32, Traffic, Usage
from fedbbpt.web.auth import TOKEN_VARIABLE

OTHER_BODY, FORGOTTEN = 409, 410
MAX_FORWARDS = 10  # of one batch, if its pass is evicted before its gradients come
MAX_REASON = 300  # characters of a server's own words
TOKEN_ADVICE = f"set ${TOKEN_VARIABLE} to the token that it was started with"
URL_ADVICE = "start it with fedbbpt serve-body, or correct algorithm.body_url"
ADVICE = {
    401: TOKEN_ADVICE,
    403: TOKEN_ADVICE,
    404: URL_ADVICE,
    413: "start it with a larger --max-body, or send less at a time: lower algorithm.batch_size and backend.max_batch",
}
Direction = Literal["forward", "backward"]


class CutSpec(NamedTuple):
    """What client and server have to agree on."""

    identity: str  # of the body, see `SplitModel.identity`
    head_blocks: int
    tail_blocks: int


class RemoteBody:
    """A server with a body, for all transports of a process. Nothing is sent before the first transport is used.

    Every request names the identity of the body, so that a server that comes back with another one is noticed.
    """

    def __init__(self, link: Link, dtype: ActivationDtype, cut: CutSpec) -> None:
        self._client, self._dtype, self._cut = RetryingClient(link), dtype, cut
        self._checked = False  # whether the server has the body of `cut`

    def transport(self, *, backward: bool) -> Transport:
        """A transport for one client and round; with `backward`, gradients will follow what goes forward."""
        return HttpTransport(self, self._dtype, backward)

    def send(self, direction: Direction, message: bytes, ticket: str | None) -> HttpResult:
        """The response to packed activations or gradients; with a ticket, its status may be `FORGOTTEN`.

        Raises:
            ConfigError: the server denies access, has another body, or refuses such a message.
            BackendError: it did not answer, or failed.
        """
        if not self._checked:
            self._check_body()
        query = {"body": self._cut.identity} | ({"ticket": ticket} if ticket else {})
        result = self._client.request("POST", f"/v1/split/{direction}", message, **query)
        if result.status == OTHER_BODY:
            self._check_body()
        if not (ticket and result.status == FORGOTTEN):
            self._check_status(result)
        return result

    def malformed(self, what: str) -> BackendError:
        """The error for a response that cannot be used."""
        return BackendError(f"{self._client.url} answered with {what}; see that it is fedbbpt serve; {RESUME}")

    def _check_body(self) -> None:
        result, url, ours = self._client.request("GET", "/v1/split"), self._client.url, self._cut
        self._check_status(result)
        try:
            description = json.loads(result.content)
            model, theirs = description["model"], CutSpec(*(description[name] for name in CutSpec._fields))
        except (ValueError, TypeError, LookupError, RecursionError) as e:
            raise ConfigError(f"{url} does not say what body it has; {URL_ADVICE}") from e
        if (theirs.head_blocks, theirs.tail_blocks) != (ours.head_blocks, ours.tail_blocks):
            raise ConfigError(
                f"{url} has {theirs.head_blocks} blocks before the body and {theirs.tail_blocks} behind it (its "
                f"--head-blocks and --tail-blocks), and this run has algorithm.head_blocks={ours.head_blocks} and "
                f"algorithm.tail_blocks={ours.tail_blocks}: start one of the two with the other's numbers"
            )
        if theirs.identity != ours.identity:
            raise ConfigError(
                f"{url} has the body of another model ({model}), or one with other weights: start it with the options "
                "of this run's backend, and with -o dtype= as algorithm.dtype"
            )
        self._checked = True

    def _check_status(self, result: HttpResult) -> None:
        if result.status == 200:
            return
        said = f"{self._client.url} answered with HTTP {result.status}"
        if result.status in ADVICE:
            raise ConfigError(f"{said}: {ADVICE[result.status]}")
        if 300 <= result.status < 400:
            raise ConfigError(f"{said}, so it has moved: correct algorithm.body_url")
        if 400 <= result.status < 500 and result.status not in (OTHER_BODY, FORGOTTEN):  # a resumed run gets it again
            raise ConfigError(said + _reason(result.content))
        raise BackendError(f"{said}, and its log may say why; {RESUME}")


class HttpTransport:
    """A transport over HTTP, for one client and round.

    The body is a pure function: a batch whose backward pass the server no longer holds goes forward again, to the same
    bits.
    """

    def __init__(self, remote: RemoteBody, dtype: ActivationDtype, backward: bool) -> None:
        self._remote, self._dtype, self._keeps_backward = remote, dtype, backward
        self._pending: bytes | None = None  # the message that waits for its gradients
        self._ticket: str | None = None  # under which the server keeps its backward pass
        self.traffic, self.usage = Traffic(), Usage()

    def forward(self, values: Float32) -> Float32:
        """See `Transport.forward`."""
        self.usage += Usage(len(values), 1)
        message = pack(values, self._dtype)
        self._pending = message if self._keeps_backward else None
        return self._read(self._send_forward(message), values)

    def backward(self, gradients: Float32) -> Float32:
        """See `Transport.backward`."""
        if self._pending is None:
            raise RuntimeError(NO_FORWARD)
        message = pack(gradients, self._dtype)
        for _ in range(MAX_FORWARDS):
            result = self._send("backward", message)
            if result.status != FORGOTTEN:
                self._pending = None
                return self._read(result, gradients)
            self._send_forward(self._pending)
        raise self._remote.malformed(f"HTTP {FORGOTTEN} {MAX_FORWARDS} times, so too many clients ask it at a time")

    def _send_forward(self, message: bytes) -> HttpResult:
        self._ticket = secrets.token_hex(16) if self._keeps_backward else None
        return self._send("forward", message)

    def _send(self, direction: Direction, message: bytes) -> HttpResult:
        result = self._remote.send(direction, message, self._ticket)
        self.traffic += result.traffic
        return result

    def _read(self, result: HttpResult, like: Float32) -> Float32:
        try:
            values, _ = unpack_untrusted(result.content)
        except ValueError as e:
            raise self._remote.malformed("no packed activations") from e
        if values.shape != like.shape:
            raise self._remote.malformed(f"an array {values.shape} in place of {like.shape}")
        return values


def _reason(content: bytes) -> str:
    """ ": REASON", the server's own words in one line; empty if it gives none."""
    try:
        message = json.loads(content)["error"]["message"]
    except (ValueError, TypeError, LookupError, RecursionError):
        return ""
    shown = excerpt(message, MAX_REASON) if isinstance(message, str) else ""
    return f": {shown}" if shown else ""
