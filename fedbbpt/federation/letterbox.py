"""What the sites of a federation write to each other, without the server: sent, awaited, checked."""

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Condition

import numpy as np

from fedbbpt.algorithms.reply_checks import letter_problem
from fedbbpt.types import OutOfDate, Received, Traffic, Update, wire

SendLetter = Callable[
    [str, bytes], object
]  # to a site, end-to-end encrypted; its failure is for the receiver to notice
TIMEOUT = 60.0  # seconds for a neighbour's letter: its process may have to begin anew
LARGEST = 2**28  # bytes
MOST_OVER = 100  # exchanges that are remembered as over
OPEN = 2  # exchanges of which letters of one neighbour are kept: that of now, and the next


class Letterbox:
    """Sends a site's letters to its neighbours, and keeps theirs until they are taken.

    Letters belong to an exchange, which the server names at random. Of each neighbour, the first letter of an exchange
    counts, and none of one that is over, so that a letter that is sent again changes nothing. Who the sender is says
    the connection (`hear`), and never the letter.

    Args:
        name: the site's.
        send_letter: brings a letter to another site.
    """

    def __init__(self, name: str, send_letter: SendLetter) -> None:
        self._name, self._send = name, send_letter
        self._letters: dict[str, dict[str, bytes]] = {}  # sender -> exchange -> letter
        self._refused: dict[str, str] = {}  # sender -> why, since the last exchange
        self._over: deque[str] = deque(maxlen=MOST_OVER)
        self._news = Condition()

    def hear(self, sender: str, content: bytes) -> str:
        """Keeps what another site has sent; returns why not, or nothing."""
        with self._news:
            if why := self._kept(sender, content):
                self._refused[sender] = why
            self._news.notify_all()
        return why

    def _kept(self, sender: str, content: bytes) -> str:
        if len(content) > LARGEST:
            return "sent one that is too large"
        try:
            exchange, letter = _opened(content)
        except ValueError:
            return "sent one that cannot be read"
        kept = self._letters.setdefault(sender, {})
        if exchange in self._over or exchange in kept:
            return "sent one again, or too late"
        kept[exchange] = letter
        while len(kept) > OPEN:
            del kept[next(iter(kept))]
        return ""

    def exchange(
        self, exchange: str, own: Update | OutOfDate, to: Sequence[str], senders: Sequence[str], template: Update
    ) -> tuple[dict[str, Update], Received]:
        """Sends this site's letter, if it has one, to some sites, and takes those of some senders.

        Returns the letters that can be used, and what to tell the server of them.
        """
        letter = own.to_bytes() if isinstance(own, Update) else b""
        sealed = _sealed(exchange, letter)
        with ThreadPoolExecutor(max(1, len(to))) as pool:
            for site in to:
                pool.submit(self._send, site, sealed)
            found, missing = self._taken(exchange, senders)
        letters = dict[str, Update]()
        for sender, content in found.items():
            try:
                one = Update.from_bytes(content) if content else OutOfDate(sender)
            except ValueError:
                missing[sender] = "sent one that cannot be read"
            else:
                if why := letter_problem(one, template, sender, own):
                    missing[sender] = why
                elif isinstance(one, Update):
                    letters[sender] = one
        traffic = Traffic(len(letter) * len(to), sum(len(found[sender]) for sender in letters))
        return letters, Received(self._name, missing, traffic)

    def _taken(self, exchange: str, senders: Sequence[str]) -> tuple[dict[str, bytes], dict[str, str]]:
        """The letters of an exchange, once all have come, or there is no more time; and why some are missing."""

        def has_come(sender: str) -> bool:
            return exchange in self._letters.get(sender, {}) or sender in self._refused

        with self._news:
            self._news.wait_for(lambda: all(map(has_come, senders)), TIMEOUT)
            self._over.append(exchange)
            found = {sender: kept.pop(exchange) for sender, kept in self._letters.items() if exchange in kept}
            late = f"sent none within {TIMEOUT:.0f} seconds"
            missing = {sender: self._refused.get(sender, late) for sender in senders if sender not in found}
            self._refused.clear()
        return {sender: found[sender] for sender in senders if sender in found}, missing


def _sealed(exchange: str, letter: bytes) -> bytes:
    return wire.packed({"letter": np.frombuffer(letter, np.uint8)}, exchange=exchange)


def _opened(content: bytes) -> tuple[str, bytes]:
    """Inverse of `_sealed`; raises ValueError for other bytes."""
    arrays, scalars = wire.unpacked(content)
    wire.keyed({**arrays, **scalars}, "letter", "exchange")
    return wire.named(scalars["exchange"]), wire.typed(arrays["letter"], "letter", 1, np.uint8).tobytes()
