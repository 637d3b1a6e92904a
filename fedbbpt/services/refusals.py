"""Which inputs a service refuses, and whether it refuses everything."""

from collections import Counter

from fedbbpt.services import RequestRejected

# Refused inputs in a row, without any answer in between, after which the service and not the inputs must be the cause.
# More for a service that has answered before, since the inputs of one class may follow each other.
MAX_SUSPECTED_AT_START, MAX_SUSPECTED = 10, 100


class RefusalTracker:
    """What has gone wrong with a service so far.

    An input counts as refused once the service says that the input is the reason, or answers another one afterwards;
    until then it is `suspected`.
    """

    def __init__(self) -> None:
        self.last_error = ""  # in the service's words
        self.counts: Counter[str] = Counter()  # refused inputs, by the service's words
        self.suspected: dict[bytes, RequestRejected] = {}
        self.busy_logged = False
        self.has_answered = False  # any input, ever

    def refuse(self, key: bytes, error: RequestRejected) -> list[bytes]:
        """Records a refused input; returns the inputs that are now refused for good."""
        self.last_error = str(error)
        if not error.about_input:
            self.suspected[key] = error
            return []
        self.counts[str(error)] += 1
        return [key]

    def answer(self) -> list[bytes]:
        """Records an answer; returns the inputs that are now refused for good."""
        refused = list(self.suspected)
        self.counts.update(map(str, self.suspected.values()))
        self.suspected.clear()
        self.has_answered = True
        return refused

    def check(self, done: bool = False) -> None:
        """Raises RequestRejected if the service seems to refuse everything; `done`: no more inputs follow for now."""
        limit = MAX_SUSPECTED if self.has_answered else MAX_SUSPECTED_AT_START
        if len(self.suspected) >= limit or (done and self.suspected and not self.has_answered):
            raise self.suspected[next(iter(self.suspected))]
