"""What is asked together, and how much of what is said of its tokens can be."""

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from fedbbpt.services import Reply, Size

log = logging.getLogger("fedbbpt")


@dataclass(eq=False)
class Request:
    """Inputs that are asked about together."""

    keys: Sequence[bytes]
    encoded: Sequence[str]
    sizes: Sequence[Size]
    most: int  # 10⁻⁹ dollars that it can cost
    lost: int = 0  # times that it brought nothing
    turned_away: int = 0  # times in a row
    not_before: float = 0.0

    def __post_init__(self) -> None:
        self.tokens = sum(size.read + size.output_tokens for size in self.sizes)  # about
        self.name = hashlib.blake2b(b"".join(self.keys), digest_size=20).hexdigest()

    def part(self, rows: Sequence[int]) -> "Request":
        """Some of its inputs, asked about by themselves; what all of them can cost, these may."""
        keys, encoded = [self.keys[i] for i in rows], [self.encoded[i] for i in rows]
        return Request(keys, encoded, [self.sizes[i] for i in rows], self.most, self.lost)


@lru_cache(1)
def _say() -> None:
    log.warning(
        "the service says that an answer took more tokens than it may; what it may take is counted, so that it may "
        "charge more than is shown"
    )


def believed(replies: Sequence[Reply], sizes: Sequence[Size]) -> Sequence[Reply]:
    """The replies with tokens that can be: what was reserved, in place of less than none or of more than that."""
    given, produced = sum(one.tokens - one.output_tokens for one in replies), sum(one.output_tokens for one in replies)
    most_given, most_produced = sum(size.longest for size in sizes), sum(size.output_tokens for size in sizes)
    if 0 <= given <= most_given and 0 <= produced <= most_produced:
        return replies
    if given > most_given or produced > most_produced:
        _say()
    return [
        one._replace(tokens=size.longest + size.output_tokens, output_tokens=size.output_tokens)
        for one, size in zip(replies, sizes, strict=True)
    ]
