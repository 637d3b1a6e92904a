"""What a node of a flood notes in a round: the replies of all nodes, as bytes, and what a server makes of them."""

from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from dataclasses import replace
from hashlib import sha256
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedbbpt.algorithms import ClientReply, OutOfDateError, RoundReport, ServerState
from fedbbpt.algorithms.fedavg import FedAvg
from fedbbpt.algorithms.flood_round import CONTENT
from fedbbpt.algorithms.loss_broadcast import names_of, packed_names
from fedbbpt.algorithms.reply_checks import usable
from fedbbpt.types import Dataset, Message, wire

NOTES = "flood/"  # prefix of a node's notes in its scratch
HEARD, TOLD, REFUSED, LOG = (NOTES + name for name in ("heard", "told", "refused", "log/"))
SALT, SALT_SIZE = "salt", 16  # of a state, in it; of a reply, bytes before it
EXAMPLES = 64  # of the data that go into a salt
Bytes = NDArray[np.uint8]


def packed_replies(replies: Mapping[str, bytes]) -> Bytes:
    """Replies by node as bytes (n,); their order is kept."""
    arrays = {str(i): np.frombuffer(reply, np.uint8) for i, reply in enumerate(replies.values())}
    return np.frombuffer(wire.packed(arrays, nodes=list(replies)), np.uint8)


def replies_of(packed: Bytes) -> dict[str, bytes]:
    """Inverse of `packed_replies` for any bytes.

    Raises:
        ValueError: they do not come from it.
    """
    arrays, scalars = wire.unpacked(packed.tobytes())
    wire.keyed(scalars, "nodes")
    nodes = wire.listed(scalars["nodes"], "nodes", len(arrays))
    wire.keyed(arrays, *map(str, range(len(nodes))))
    parts = [wire.typed(arrays[str(i)], "a reply", 1, np.uint8).tobytes() for i in range(len(nodes))]
    return dict(zip(map(wire.named, nodes), parts, strict=True))


def packed_state(state: ServerState) -> Bytes:
    """All of a state as bytes (n,), the same for the same bits; its digest is theirs."""
    return np.frombuffer(wire.packed(state.to_arrays()), np.uint8)


def digest(content: Bytes) -> Bytes:
    """The SHA-256 of bytes (n,): (32,)."""
    return np.frombuffer(sha256(content.tobytes()).digest(), np.uint8)


def salted(reply: bytes, data: Dataset) -> bytes:
    """A reply behind bytes that depend on it and on the node's data.

    A few losses or counts could be found by trying which have the digest. Behind a salt, they cannot be tried without
    the data. Nothing is drawn at random, so that a run has the same bits again.
    """
    secret = sha256(data.labels.tobytes())
    for content in islice(data.contents(), EXAMPLES):
        secret.update(content)
    return sha256(secret.digest() + reply).digest()[:SALT_SIZE] + reply


class RoundLog:
    """A node's notes on a round. They last until the round ends, as its scratch does.

    An exchange is open from the node's own reply until it is said which replies count.
    """

    def __init__(self, scratch: MutableMapping[str, NDArray[Any]]) -> None:
        self._notes = scratch

    def clear(self) -> None:
        """Forgets everything."""
        for name in [name for name in self._notes if name.startswith(NOTES)]:
            del self._notes[name]

    def open(self, node: str, reply: bytes) -> None:
        """Opens an exchange with the node's own reply."""
        nobody = packed_names([])
        self._notes.update({HEARD: packed_replies({node: reply}), TOLD: nobody, REFUSED: nobody})

    @property
    def heard(self) -> dict[str, bytes]:
        """The replies to the open exchange, by node.

        Raises:
            OutOfDateError: none is open, since the node has lost its notes.
        """
        if HEARD not in self._notes:
            raise OutOfDateError
        return replies_of(self._notes[HEARD])

    @property
    def refused(self) -> list[str]:
        """Neighbours of whom a letter of the open exchange was refused."""
        return names_of(self._notes[REFUSED])

    def take(self, letters: Mapping[str, Mapping[str, NDArray[Any]]], digests: Mapping[str, bytes]) -> None:
        """Adds the replies in letters (by sender) to what it has heard, if all in a letter have the right digests."""
        heard, refused = self.heard, self.refused
        for sender, letter in letters.items():
            try:
                replies = replies_of(letter[CONTENT])
            except ValueError:
                replies = {sender: b""}  # which no node has said
            new = {node: reply for node, reply in replies.items() if heard.get(node) != reply}
            if all(node in digests and sha256(reply).digest() == digests[node] for node, reply in new.items()):
                heard |= new
            elif sender not in refused:
                refused.append(sender)
        self._notes.update({HEARD: packed_replies(heard), REFUSED: packed_names(refused)})

    def news(self) -> dict[str, bytes]:
        """What it has heard since it was last asked for news."""
        heard, told = self.heard, set(names_of(self._notes[TOLD]))
        self._notes[TOLD] = packed_names(list(heard))
        return {node: reply for node, reply in heard.items() if node not in told}

    def repeat(self) -> None:
        """Makes all of the open exchange news again."""
        self._notes[TOLD] = packed_names([])

    def close(self, nodes: Sequence[str]) -> None:
        """Closes the exchange; the replies of these nodes count, in this order.

        Raises:
            OutOfDateError: it lacks one.
        """
        heard = self.heard
        if not heard.keys() >= set(nodes):
            raise OutOfDateError
        self._notes[f"{LOG}{sum(1 for _ in self.exchanges)}"] = packed_replies({node: heard[node] for node in nodes})
        del self._notes[HEARD]

    @property
    def exchanges(self) -> Iterator[Bytes]:
        """The replies that count of each closed exchange, as by `packed_replies`."""
        number = 0
        while (name := f"{LOG}{number}") in self._notes:
            yield self._notes[name]
            number += 1


class Question(NamedTuple):
    """What a server would ask next."""

    handler: str
    message: Message


class Outcome(NamedTuple):
    """How a server would end the round."""

    state: ServerState
    report: RoundReport
    unusable: Mapping[str, str]  # nodes whose replies it would leave out, and why


class _AskedError(Exception):
    """Ends the play where the log does."""

    def __init__(self, question: Question) -> None:
        super().__init__(question)
        self.question = question


def play(server: FedAvg, state: ServerState, exchanges: Sequence[Bytes]) -> Question | Outcome:
    """Plays a round of the server's half from this state, with the salted replies of the exchanges so far.

    A pure function of state and replies, so that all nodes come to the same bits. Their salts become that of the new
    state, whose digest says no more than theirs.

    Raises:
        BackendError: no reply to an exchange is usable.
        ConfigError: the parameters overflowed (see `FedAvg.aggregate`).
    """
    left, unusable = iter(exchanges), dict[str, str]()

    def logged(handler: str, message: Any) -> list[Any]:
        packed = next(left, None)
        if packed is None:
            raise _AskedError(Question(handler, message))
        template = server.template(handler, message)
        replies = {node: _read(reply, template) for node, reply in replies_of(packed).items()}
        return usable(replies, template, message, unusable)

    try:
        new, report = server.round(state, logged)
    except _AskedError as asked:
        return asked.question
    salt = digest(np.concatenate(exchanges))
    return Outcome(replace(new, opt_state={**new.opt_state, SALT: salt}), report, unusable)


def _read(reply: bytes, template: ClientReply) -> Any:
    """A salted reply of the template's type; None where the bytes are none."""
    kind: Any = type(template)
    try:
        return kind.from_bytes(reply[SALT_SIZE:])
    except ValueError:
        return None
