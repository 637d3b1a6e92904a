"""What a federation's server and its sites ask of each other, and what they answer; as bytes, without pickle."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np

from fedbbpt.types import wire

RequestKind = Literal[
    "ping",  # whether the site could work now
    "describe",  # what the site has: its version, data and backend
    "words",  # how often the words of its training texts occur
    "open",  # the data and the model, for a run
    "restore",  # the client's memory of a round
    "call",  # a handler of the algorithm; `content` is a `Message`
    "letters",  # write to other sites, and take what they write; `content` is a `Message`
    "save",  # the client's memory, on disk
    "result",  # keep the finished run; `content` are its files
    "body",  # the only one of a site to the server: a request to the body of a split model
]
ResponseKind = Literal[
    "ok",  # done
    "busy",  # not done: another request is being answered
    "refused",  # not done: the site's policy does not allow it, or it cannot be answered
    "dropped",  # begun and lost: the process that worked on it ended
]
MAX_REASON = 10_000  # characters


@dataclass(frozen=True)
class Request:
    """A request of the server to a site, or of a site to the server.

    >>> Request.from_bytes(Request("restore", {"round": 12}).to_bytes())
    Request(kind='restore', fields={'round': 12}, content=b'')
    """

    kind: RequestKind
    fields: Mapping[str, Any] = field(default_factory=dict)  # JSON; whoever answers checks what it needs of it
    content: bytes = b""

    def to_bytes(self) -> bytes:
        """Converts to safetensors."""
        return _packed("request", self.kind, self.fields, self.content)

    @classmethod
    def from_bytes(cls, data: bytes) -> "Request":
        """Inverse of `to_bytes`.

        Raises:
            ValueError: the bytes are no request of a known kind.
        """
        return cls(*_unpacked(data, "request", get_args(RequestKind)))


@dataclass(frozen=True)
class Response:
    """The answer to a request; unless it is "ok", the only field is `reason`, in words."""

    kind: ResponseKind = "ok"
    fields: Mapping[str, Any] = field(default_factory=dict)  # JSON; whoever asked checks what it needs of it
    content: bytes = b""

    @classmethod
    def without_result(cls, kind: Literal["busy", "refused", "dropped"], reason: str) -> "Response":
        """The answer to a request that was not done."""
        return cls(kind, {"reason": reason[:MAX_REASON]})

    @property
    def reason(self) -> str:
        """Why the request was not done, as the other side says; empty if it was."""
        return "" if self.kind == "ok" else str(self.fields["reason"])

    def to_bytes(self) -> bytes:
        """Converts to safetensors."""
        return _packed("response", self.kind, self.fields, self.content)

    @classmethod
    def from_bytes(cls, data: bytes) -> "Response":
        """Inverse of `to_bytes`.

        Raises:
            ValueError: the bytes are no response of a known kind, or a request was not done without a reason.
        """
        kind, fields, content = _unpacked(data, "response", get_args(ResponseKind))
        if kind != "ok":
            wire.keyed(fields, "reason")
            if not isinstance(fields["reason"], str) or len(fields["reason"]) > MAX_REASON:
                raise ValueError(f"reason is not a text of at most {MAX_REASON:,} characters")
        return cls(kind, fields, content)


def _packed(name: str, kind: str, fields: Mapping[str, Any], content: bytes) -> bytes:
    return wire.packed({"content": np.frombuffer(content, np.uint8)}, **{name: kind, "fields": dict(fields)})


def _unpacked(data: bytes, name: str, kinds: tuple[str, ...]) -> tuple[Any, dict[str, Any], bytes]:
    arrays, scalars = wire.unpacked(data)
    wire.keyed({**arrays, **scalars}, "content", "fields", name)
    if scalars[name] not in kinds:
        raise ValueError(f"{name} is none of {', '.join(kinds)}")
    content = wire.typed(arrays["content"], "content", 1, np.uint8)
    return scalars[name], wire.mapped(scalars["fields"], "fields"), content.tobytes()
