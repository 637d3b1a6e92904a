"""What a service says in place of scores, and whether it is one input that it refuses or everybody."""

from collections import Counter

from fedbbpt.services import Refused

# Inputs in a row, without an answer to any other: then it is not they that are refused. More of a service that has
# answered before, since inputs of one class may stand together.
FIRST_REFUSED, MOST_REFUSED = 10, 100


class Trouble:
    """What has gone wrong with a service so far.

    An input counts as refused once the service says that it is the input that it does not want, or answers another one
    afterwards; until then it is `doubtful`.
    """

    def __init__(self) -> None:
        self.last = ""  # what was said last
        self.refused: Counter[str] = Counter()  # inputs, by what was said
        self.doubtful: dict[bytes, Refused] = {}
        self.busy = False  # whether it was said that the service is
        self.answers = False  # whether the service has ever answered an input

    def refuse(self, key: bytes, error: Refused) -> list[bytes]:
        """The service refuses an input; which inputs are refused for good now."""
        self.last = str(error)
        if not error.about_input:
            self.doubtful[key] = error
            return []
        self.refused[str(error)] += 1
        return [key]

    def answered(self) -> list[bytes]:
        """The service answers an input; which other inputs are refused for good now."""
        refused = list(self.doubtful)
        self.refused.update(map(str, self.doubtful.values()))
        self.doubtful.clear()
        self.answers = True
        return refused

    def check(self, over: bool = False) -> None:
        """Raises Refused if the service seems to refuse everybody; `over`: nothing else is asked for the moment."""
        most = MOST_REFUSED if self.answers else FIRST_REFUSED
        if len(self.doubtful) >= most or (over and self.doubtful and not self.answers):
            raise self.doubtful[next(iter(self.doubtful))]
