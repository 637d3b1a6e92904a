"""A round of a flood as its coordinator sees it: whose turn it is, and who has heard whom, but not what was said."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from fedbbpt.algorithms import Send
from fedbbpt.algorithms.letters import LETTER, asking
from fedbbpt.algorithms.loss_broadcast import names_of, packed_names
from fedbbpt.errors import BackendError
from fedbbpt.types import Message, Update

# Of messages.
STATE = "state"  # the SHA-256 (32,) of the state that all nodes have, uint8 as the others
SPEAKERS, DIGESTS = "speakers", "digests"  # about an exchange: who replied, and the SHA-256 of each reply (n, 32)
COUNTED = "counted"  # to go on: whose replies to the last exchange count
# Of replies and letters.
CONTENT = "content"  # of a letter: replies, or the whole state; (n,) bytes
DIGEST = "digest"  # the SHA-256 of what the node has to say; at the round's end, of its new state
FIGURES, NUM_FIGURES = "figures", 5  # float64: whether the round is over, and cross-validated; three counts of that
UNUSABLE = "unusable"  # (n,) of 0 and 1, by `COUNTED`: whose replies nobody can use
HAS, REFUSED = "has", "refused"  # (n,) of 0 and 1, by `SPEAKERS`: whose replies the node has, whose letters it refused


def digests_by_speaker(message: Message) -> dict[str, bytes]:
    """The SHA-256 of what each node has said in an exchange, from a message about it."""
    rows = message.parameters[DIGESTS]
    return dict(zip(names_of(message.parameters[SPEAKERS]), (row.tobytes() for row in rows), strict=True))


def between(graph: Any, names: Sequence[str], clients: Sequence[str]) -> Any:
    """The links between these clients: a graph of their numbers, which are those of their names."""
    return graph.subgraph([names.index(client) for client in clients])


def neighbours_by_name(graph: Any, names: Sequence[str]) -> dict[str, list[str]]:
    """The neighbours of each node of a graph."""
    return {names[i]: [names[j] for j in sorted(graph[i]) if j != i] for i in graph}


class FloodRound:
    """Leads nodes through a round.

    Args:
        graph: the links of all nodes, by number.
        names: the nodes' names by number.
        message: with which the round begins.
        send: as in `Algorithm.round`.

    Attributes:
        left_out: nodes without which the others went on, and why, as "it …".
        lost: links (receiver, sender) of which a letter was refused, and why.
    """

    def __init__(self, graph: Any, names: Sequence[str], message: Message, send: Send) -> None:
        self._graph, self._names, self._message, self._send = graph, names, message, send
        self.left_out: dict[str, str] = {}
        self.lost: dict[tuple[str, str], str] = {}

    def run(self, said: Sequence[Update]) -> tuple[Update, Sequence[str]]:
        """Goes on from the first replies until the round is over.

        Returns one of the last replies, in which most nodes agree, and the nodes of whose replies it says which were
        unusable.

        Raises:
            BackendError: the nodes cannot hear each other, or all have dropped out.
        """
        counted: Sequence[str] = ()
        while not (agreed := self._agreed(said))[0].payload[FIGURES][0]:
            counted, present = self._passed_on(agreed)
            parameters: Any = {**self._message.parameters, COUNTED: packed_names(counted)}
            said = self._send("train", dict.fromkeys(present, replace(self._message, parameters=parameters)))
        return agreed[0], counted

    def _agreed(self, said: Sequence[Update]) -> list[Update]:
        """The replies of those nodes that say the same of the round as most do."""
        ends = [_end(one) for one in self._some(said)]
        ((usual, _),) = Counter(ends).most_common(1)
        self.left_out |= {
            one.client: "came to another state than most nodes"
            for one, end in zip(said, ends, strict=True)
            if end != usual
        }
        return [one for one, end in zip(said, ends, strict=True) if end == usual]

    def _passed_on(self, said: Sequence[Update]) -> tuple[list[str], list[str]]:
        """Has what the nodes said pass from neighbour to neighbour.

        It takes as many hops as the graph is wide, and more as long as they bring news where something is missing. What
        most nodes have heard counts. Returns whose replies these are, and who has heard all of them.
        """
        speakers = [one.client for one in said]
        parameters: Any = {SPEAKERS: packed_names(speakers), DIGESTS: np.stack([one.payload[DIGEST] for one in said])}
        about = replace(self._message, parameters=parameters)
        links, hops = self._links(speakers)
        asked = {client: asking(about, near) for client, near in links.items()}
        for _ in range(hops):
            self._send(LETTER, asked)
        has, before = self._heard(about, speakers), 0
        while hops and before < (known := _count(has)) < len(has) * len(speakers):
            self._send(LETTER, asked)
            has, before = self._heard(about, speakers), known
        counts = 2 * np.sum(list(has.values()), 0) > len(has)
        deaf = [client for client, mask in has.items() if (counts & ~mask).any()]
        self.left_out |= dict.fromkeys(deaf, "has not heard what most nodes have")
        counted = [speaker for speaker, one in zip(speakers, counts, strict=True) if one]
        present = [client for client in has if client not in deaf]
        if not (counted and present):
            raise self._apart("what they said did not reach most of them")
        return counted, present

    def _heard(self, about: Message, speakers: Sequence[str]) -> dict[str, NDArray[np.bool_]]:
        """Whose replies (n,) each node has, by node."""
        replies = self._some(self._send("hear", dict.fromkeys(speakers, about)))
        for one in replies:
            senders = [speaker for speaker, mark in zip(speakers, one.payload[REFUSED], strict=True) if mark]
            for sender in senders:
                self.lost[one.client, sender] = "sent as another node's reply what that node has not said"
        return {one.client: one.payload[HAS] > 0 for one in replies}

    def _links(self, present: Sequence[str]) -> tuple[Mapping[str, Sequence[str]], int]:
        """The neighbours of each present node, and how many hops lie between the two that are farthest apart."""
        graph = between(self._graph, self._names, present)
        parts = [[self._names[i] for i in sorted(part)] for part in nx.connected_components(graph)]
        if len(parts) > 1:
            said = " | ".join(", ".join(part) for part in sorted(parts))
            raise self._apart(f"without those that are missing they fall into parts: {said}")
        return neighbours_by_name(graph, self._names), nx.diameter(graph)

    def _some(self, replies: Sequence[Update]) -> Sequence[Update]:
        """The replies, of which there has to be one."""
        if not replies:
            raise self._apart("all have dropped out")
        return replies

    def _apart(self, why: str) -> BackendError:
        return BackendError(
            f"the nodes of round {self._message.round} cannot hear each other ({why}); the rounds before are not lost: "
            "once the missing ones are back, continue with --resume, or begin anew with a topology of more links"
        )


def _end(one: Update) -> bytes:
    """What a node says of the end of the round, if it is over."""
    figures = one.payload[FIGURES]
    said = one.payload[DIGEST], figures, one.payload[UNUSABLE], np.float64(one.loss)
    return b"".join(part.tobytes() for part in said) if figures[0] else b""


def _count(has: Mapping[str, NDArray[np.bool_]]) -> int:
    return sum(int(mask.sum()) for mask in has.values())
