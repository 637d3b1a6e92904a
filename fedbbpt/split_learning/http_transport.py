"""The line to a body that another process holds: `fedbbpt serve --split body`."""

import json
import secrets
from typing import NamedTuple

from fedbbpt.errors import BackendError, ConfigError
from fedbbpt.printing import excerpt
from fedbbpt.split_learning.activations import ActivationDtype, pack, unpack_untrusted
from fedbbpt.split_learning.http_retry import RESUME, Answer, RetryingClient
from fedbbpt.split_learning.transport import NO_FORWARD, Transport
from fedbbpt.types import Float32, Traffic, Usage
from fedbbpt.web.auth import TOKEN_VARIABLE

OTHER_BODY, FORGOTTEN = 409, 410
MOST_TIMES = 10  # that one batch goes forward
MOST_LETTERS = 300  # of what a server says
TOKEN = f"set ${TOKEN_VARIABLE} to the token that it was started with"
NO_BODY = "start it with fedbbpt serve --split body, or correct algorithm.body_url"
ADVICE = {
    401: TOKEN,
    403: TOKEN,
    404: NO_BODY,
    413: "start it with a larger --max-body, or send less at a time: lower algorithm.batch_size and backend.batch",
}


class CutSpec(NamedTuple):
    """What client and server have to agree on."""

    identity: str  # of the body, see `SplitModel`
    head_blocks: int
    tail_blocks: int


class RemoteBody:
    """The server's end of all lines of a process. Nobody is asked before the first line is used.

    Every request names the body that is meant, so that a server that comes back with another one is found out.

    Raises:
        ConfigError: the URL is none of HTTP.
    """

    def __init__(self, url: str, wire: ActivationDtype, cut: CutSpec) -> None:
        self._server, self._wire, self._cut = RetryingClient(url), wire, cut
        self._agreed = False

    def transport(self, *, backward: bool) -> Transport:
        """A line for one client and round; with `backward`, gradients will follow what goes forward."""
        return HttpTransport(self, self._wire, backward)

    def ask(self, way: str, message: bytes, ticket: str | None) -> Answer:
        """The answer to a message that goes "forward" or "backward"; where a ticket is named, it may be `FORGOTTEN`.

        Raises:
            ConfigError: the server does not let this client in, has another body, or takes no such message.
            BackendError: it did not answer, or failed.
        """
        if not self._agreed:
            self._agree()
        named = {"body": self._cut.identity} | ({"ticket": ticket} if ticket else {})
        answer = self._server.ask("POST", f"/v1/split/{way}", message, **named)
        if answer.status == OTHER_BODY:
            self._agree()
        if not (ticket and answer.status == FORGOTTEN):
            self._check(answer)
        return answer

    def malformed(self, what: str) -> BackendError:
        """What is said of an answer that cannot be used."""
        return BackendError(f"{self._server.url} answered with {what}; see that it is fedbbpt serve; {RESUME}")

    def _agree(self) -> None:
        answer, url, cut = self._server.ask("GET", "/v1/split"), self._server.url, self._cut
        self._check(answer)
        try:
            told = json.loads(answer.content)
            model, theirs = told["model"], CutSpec(*(told[name] for name in CutSpec._fields))
        except (ValueError, TypeError, LookupError, RecursionError) as e:
            raise ConfigError(f"{url} does not say what body it has; {NO_BODY}") from e
        if (theirs.head_blocks, theirs.tail_blocks) != (cut.head_blocks, cut.tail_blocks):
            raise ConfigError(
                f"{url} has {theirs.head_blocks} blocks before the body and {theirs.tail_blocks} behind it (its "
                f"--head-blocks and --tail-blocks), and this run has algorithm.head_blocks={cut.head_blocks} and "
                f"algorithm.tail_blocks={cut.tail_blocks}: start one of the two with the other's numbers"
            )
        if theirs.identity != cut.identity:
            raise ConfigError(
                f"{url} has the body of another model ({model}), or one with other weights: start it with the options "
                "of this run's backend, and with -o dtype= as algorithm.dtype"
            )
        self._agreed = True

    def _check(self, answer: Answer) -> None:
        if answer.status == 200:
            return
        said = f"{self._server.url} answered with HTTP {answer.status}"
        if answer.status in ADVICE:
            raise ConfigError(f"{said}: {ADVICE[answer.status]}")
        if 300 <= answer.status < 400:
            raise ConfigError(f"{said}, so it has moved: correct algorithm.body_url")
        if 400 <= answer.status < 500 and answer.status not in (OTHER_BODY, FORGOTTEN):  # the same again, if resumed
            raise ConfigError(said + _reason(answer.content))
        raise BackendError(f"{said}, and its log may say why; {RESUME}")


class HttpTransport:
    """A transport to a body behind HTTP.

    The body is a pure function: a batch whose backward pass the server no longer holds goes forward again, to the same
    bits.
    """

    def __init__(self, remote: RemoteBody, wire: ActivationDtype, back: bool) -> None:
        self._remote, self._wire, self._back = remote, wire, back
        self._forwarded: bytes | None = None  # what waits for its gradients, and the ticket of its way back
        self._ticket: str | None = None
        self.traffic, self.usage = Traffic(), Usage()

    def forward(self, values: Float32) -> Float32:
        """See `Transport`."""
        self.usage += Usage(len(values), 1)
        message = pack(values, self._wire)
        self._forwarded = message if self._back else None
        return self._read(self._send_forward(message), values)

    def backward(self, gradients: Float32) -> Float32:
        """See `Transport`."""
        if self._forwarded is None:
            raise RuntimeError(NO_FORWARD)
        message = pack(gradients, self._wire)
        for _ in range(MOST_TIMES):
            answer = self._ask("backward", message)
            if answer.status != FORGOTTEN:
                self._forwarded = None
                return self._read(answer, gradients)
            self._send_forward(self._forwarded)
        raise self._remote.malformed(f"HTTP {FORGOTTEN} {MOST_TIMES} times, so too many clients ask it at a time")

    def _send_forward(self, message: bytes) -> Answer:
        self._ticket = secrets.token_hex(16) if self._back else None
        return self._ask("forward", message)

    def _ask(self, way: str, message: bytes) -> Answer:
        answer = self._remote.ask(way, message, self._ticket)
        self.traffic += answer.traffic
        return answer

    def _read(self, answer: Answer, like: Float32) -> Float32:
        try:
            values, _ = unpack_untrusted(answer.content)
        except ValueError as e:
            raise self._remote.malformed("what is no message of this line") from e
        if values.shape != like.shape:
            raise self._remote.malformed(f"an array {values.shape} in place of {like.shape}")
        return values


def _reason(content: bytes) -> str:
    """What a server says of its refusal, in a line; nothing if it says nothing."""
    try:
        message = json.loads(content)["error"]["message"]
    except (ValueError, TypeError, LookupError, RecursionError):
        return ""
    shown = excerpt(message, MOST_LETTERS) if isinstance(message, str) else ""
    return f": {shown}" if shown else ""
