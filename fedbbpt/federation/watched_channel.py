"""Notes for a job's operator what its sites do, and which of them do not answer."""

import time
from collections.abc import Mapping
from threading import Lock

from fedbbpt.federation.channel import Answer, Channel, Failure
from fedbbpt.federation.job_folder import Activity, JobFolder
from fedbbpt.federation.messages import Request, Response


class WatchedChannel:
    """A channel that notes in a job's folder what the sites do, and which do not answer."""

    def __init__(self, channel: Channel, folder: JobFolder) -> None:
        self._channel, self._folder = channel, folder
        self._activity = Activity(run=folder.job.out)
        self._heard = dict.fromkeys(channel.sites, time.time())
        self._lost: set[str] = set()
        self._turn = Lock()  # sites that are away are asked while others work

    @property
    def sites(self) -> tuple[str, ...]:
        """See `Channel`."""
        return self._channel.sites

    def request(self, requests: Mapping[str, Request], timeout: float) -> dict[str, Response | Failure]:
        """See `Channel`."""
        work = {site: one for site, one in requests.items() if one.kind != "ping"}
        if work:
            self._note({site: f"{one.fields.get('handler', one.kind)}" for site, one in work.items()})
        responses = self._channel.request(requests, timeout)
        described = {s: r for s, r in responses.items() if requests[s].kind == "describe" and isinstance(r, Response)}
        self._activity.backends |= {site: _backend(response) for site, response in described.items()}
        silent = {site for site, response in responses.items() if isinstance(response, Failure)}
        with self._turn:
            self._heard |= dict.fromkeys(responses.keys() - silent, time.time())
            lost = self._lost - responses.keys() | silent
            if lost != self._lost:
                self._lost = lost
                self._folder.note_lost({site: self._heard[site] for site in sorted(lost)})
        return responses

    def answer_with(self, answer: Answer) -> None:
        """See `Channel`."""
        self._channel.answer_with(answer)

    def _note(self, doing: dict[str, str]) -> None:
        before = dict(self._activity.doing)
        self._activity.doing |= doing | dict.fromkeys(self._lost, "away")
        if self._activity.doing != before:
            self._folder.note_activity(self._activity)


def _backend(introduction: Response) -> str:
    backend = introduction.fields.get("backend")
    return str(backend.get("name")) if isinstance(backend, dict) else ""
