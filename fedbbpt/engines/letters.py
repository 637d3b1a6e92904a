"""What clients write to each other, on one machine: an engine asks for the letters, and puts them into memories."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain

from fedbbpt.algorithms.reply_checks import letter_problem
from fedbbpt.engines import Call, Engine, Memories
from fedbbpt.types import Received, Traffic, Update

Senders = Mapping[str, Sequence[str]]  # by receiver


def pass_on(engine: Engine, memories: Memories, call: Call, senders: Senders, template: Update) -> Iterator[Received]:
    """Has each sender answer the call, and each receiver remember the answers of its senders.

    Letters that cannot be used are not passed on (`letter_problem`).
    """
    asked, ended = sorted(set(chain.from_iterable(senders.values())), key=list(memories).index), dict[str, str]()
    replies = list(engine.send(call, asked, ended.__setitem__))
    written = dict(zip([client for client in asked if client not in ended], replies, strict=True))
    letters = {client: reply for client, reply in written.items() if isinstance(reply, Update)}
    sizes = {client: len(letter.to_bytes()) for client, letter in letters.items()}
    for client, theirs in senders.items():
        missing = {sender: ended[sender] for sender in theirs if sender in ended}
        for sender in theirs:
            if sender in written and (why := letter_problem(written[sender], template, sender, letters.get(client))):
                missing[sender] = why
        found = [sender for sender in theirs if sender not in missing]
        memories[client].take_letters({sender: letters[sender].payload for sender in found})
        sent = sizes.get(client, 0) * sum(client in others for others in senders.values())
        yield Received(client, missing, Traffic(sent, sum(sizes[sender] for sender in found)))
