"""A run whose clients are the sites of a federation, as its server sees it."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel

from fedbbpt.config.components import build
from fedbbpt.federation.channel import to_all
from fedbbpt.federation.engine import Nvflare
from fedbbpt.federation.enrolment import Opened, Roll
from fedbbpt.federation.messages import Request, Response
from fedbbpt.run.atomic_files import checksum
from fedbbpt.run.client_states import ClientFile, ClientFiles
from fedbbpt.run.experiment import ClientRecord, Experiment
from fedbbpt.run.saved_task import RecordingProvider
from fedbbpt.types import Traffic, Usage

FILE = "federation.json"


class FederatedRun(BaseModel):
    """What a run's folder keeps of its sites."""

    run: str  # under which the sites know it
    sites: dict[str, Opened]
    invited: list[str] = []  # sites that were not there when the run began, and may join it later
    late: list[str] = []  # those of `sites` that did, in this order
    vocabulary: tuple[int, int] = (0, 0)  # bytes up and down


@dataclass(frozen=True)
class FederatedExperiment(Experiment):
    """A run whose clients are the sites of a federation."""

    record: FederatedRun
    roll: Roll
    setup: Usage
    data_description: Sequence[tuple[str, str]]
    provider: RecordingProvider | None = None

    @property
    def client_records(self) -> Sequence[ClientRecord]:
        """See `Experiment`."""
        known, late = self.record.sites, self.record.late
        return [known[site].record(site) for site in [*sorted(known.keys() - set(late)), *late]]

    @property
    def data_sha256(self) -> str:
        """The SHA-256 of the own fingerprints of the sites with which the run began."""
        began = self.record.sites.keys() - set(self.record.late)
        return checksum(json.dumps(sorted((site, self.record.sites[site].data) for site in began)).encode())

    @property
    def vocabulary_traffic(self) -> Traffic:
        """See `Experiment`."""
        return Traffic(*self.record.vocabulary)

    def open_clients(self, folder: Path) -> "SiteClients":
        """See `Experiment`; the sites keep what they remember in folders of their own."""
        engine: Nvflare = build("engines", self.config.engine, self.roll.channel, self.roll.away)
        sites = [record.id for record in self.client_records]
        return SiteClients(engine, sites, self.roll.tell, or_earlier=self.algorithm.is_decentralised)


@dataclass(frozen=True)
class SiteClients:
    """The clients at their sites. See `Clients`."""

    engine: Nvflare
    sites: list[str]
    tell: Callable[[str], None]  # shows a sentence to the user
    or_earlier: bool  # whether a client that was away can use what it remembers of an earlier round

    def save(self, round_: int) -> Mapping[str, ClientFile]:
        """See `Clients`; nothing of it is in the run's folder."""
        for site, response in self.engine.request(to_all(Request("save", {"round": round_}), self.sites)).items():
            if isinstance(response, Response) and response.kind != "ok":
                self.tell(f"{site} has not stored what it remembers of round {round_} ({response.reason})")
        return {}

    def restore(self, round_: int, files: ClientFiles) -> None:
        """See `Clients`; who remembers nothing of that round is brought up to date by the algorithm."""
        request = Request("restore", {"round": round_, "or_earlier": self.or_earlier})
        self.engine.request(to_all(request, self.sites))

    def tested(self, score: str) -> bytes:
        """See `Clients`; single examples are a site's own business."""
        return b""
