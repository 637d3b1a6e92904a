"""What a site's worker process holds during a run: the data, the model, and the client's half of the algorithm."""

import hashlib
import hmac
import secrets
from dataclasses import asdict, dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

from fedbbpt.algorithms import ClientMemory
from fedbbpt.algorithms.letters import LETTER
from fedbbpt.backend import Backend, OnQueries
from fedbbpt.config import Config, make_config
from fedbbpt.config.components import build_task
from fedbbpt.data.sites import SiteTask
from fedbbpt.engines import Call, ClientHost
from fedbbpt.errors import ConfigError
from fedbbpt.federation.body_link import ServerLink
from fedbbpt.federation.dtypes import dtype_of, following, in_dtype
from fedbbpt.federation.messages import Response
from fedbbpt.federation.policy import QueryGuard
from fedbbpt.federation.site_config import SiteConfig
from fedbbpt.federation.site_runs import SiteRun
from fedbbpt.run.atomic_files import reading, write_atomic
from fedbbpt.run.budget import LIMITS
from fedbbpt.run.client_data import site_client
from fedbbpt.run.model import build_model, load_backend, prepared
from fedbbpt.run.query_budget import plan_queries
from fedbbpt.run.simulation import Simulation, with_features
from fedbbpt.services.ledger import Account
from fedbbpt.split_learning.body_access import LINK
from fedbbpt.text_files import parse_toml
from fedbbpt.web.credentials import OWNER_ONLY

FACTS = "facts"  # the handler that says what `open_site` opened
FORM = "form"  # the handler that says which form a letter has
ECHO = "echo"  # the handler that sends back what it gets, for `timing`


class RunTerms(NamedTuple):
    """What the server says of a run; all else is the site's own business."""

    run: str  # the run's name in the site's ledger and folders
    config: str  # TOML
    classes: tuple[str, ...]  # on which the sites agreed


@dataclass(frozen=True)
class SiteHost(ClientHost):
    """The client's half at a site; it also says what was opened."""

    facts: Response
    own: dict[str, Any]  # in place of `shared`: it has one client, and a way to the server that ends with it

    def answer(
        self,
        call: Call,
        client: str,
        memory: ClientMemory,
        shared: dict[str, Any] | None = None,
        on_queries: OnQueries | None = None,
    ) -> Any:
        """See `ClientHost`."""
        if call.handler == FACTS:
            return self.facts
        if call.handler == FORM:
            return self.algorithms[call.algorithm][0].template(LETTER, call.to(client))
        if call.handler == ECHO:
            return Response(content=call.to(client).to_bytes())
        return super().answer(call, client, memory, self.own, on_queries)


def open_site(kit: Path, site: str, terms: RunTerms, server: Connection) -> SiteHost:
    """Opens the site's data and model as its own configuration says.

    Args:
        kit: the site's folder.
        site: its name.
        terms: what the server says of the run.
        server: leads to the server's body. See `body_link`.

    Raises:
        ConfigError: the job asks for more than the site's policy allows, or for what does not go with its data.
        DataError: the data cannot be read, or hold a class that is not agreed on.
    """
    own, run = SiteConfig.read(kit), SiteRun.of(kit, terms.run)
    chosen = run_config(own, terms)
    resolved = in_dtype(run.resolved(own.backend), dtype_of(chosen.backend))
    config = chosen.model_copy(update={"backend": resolved})
    task = SiteTask(build_task(own.data), terms.classes)
    backend = load_backend(config, task, task.provider)
    client = site_client(config, site, task.load(backend.info.input_size))
    model = build_model(config, task, backend)
    parts = (model.config, model.task, model.backend, model.prompt, model.readout)
    simulation = Simulation(*parts, clients=[with_features(client, model.prompt)])
    own.policy.check(config, plan_queries(simulation).total)
    simulation = prepared(simulation, Account(terms.run, own.policy.budget))
    run.keep_backend(own.backend, simulation.config.backend)
    (record,) = simulation.client_records
    facts = {
        "info": public_info(simulation.backend),
        "dtype": dtype_of(simulation.config.backend),
        "examples": [record.train, record.validation, record.test],
        "data": hmac.new(_secret(kit), simulation.data_sha256.encode(), hashlib.sha256).hexdigest(),
        "setup": list(simulation.backend.setup_usage),
    }
    if simulation.algorithm.access == "black-box":
        simulation = replace(simulation, backend=QueryGuard(own.policy, run.queries).guarded(simulation.backend))
    host = simulation.host
    return SiteHost(host.algorithms, host.clients, Response("ok", facts), {LINK: ServerLink(server)})


def run_config(own: SiteConfig, terms: RunTerms) -> Config:
    """The job's settings with the site's own data and backend; what may be spent is the site's own policy.

    A backend that leaves its dtype to the machine takes the job's, on which the sites agreed.

    Raises:
        ConfigError: they are no settings of this version, or do not go with the data or the backend.
    """
    try:
        settings = parse_toml(terms.config)
    except ValueError as e:
        raise ConfigError(f"the job's settings cannot be read: {e}") from e
    settings = {key: value for key, value in settings.items() if key not in LIMITS}
    asked = settings.get("backend")
    backend = following(own.backend, asked.get("dtype") if isinstance(asked, dict) else None)
    return make_config(settings | own.run_settings | {"backend": backend.table, "engine": {"name": "serial"}})


def public_info(backend: Backend) -> dict[str, Any]:
    """What the server learns of a backend: nothing of the machine on which it runs."""
    return asdict(replace(backend.info, resolved={}))


def _secret(kit: Path) -> bytes:
    """The key of the site's fingerprints, made once: without it, nobody can try which data have a fingerprint."""
    path = kit / "fingerprint.key"
    if not path.exists():
        write_atomic(path, secrets.token_bytes(32), OWNER_ONLY)
    with reading(path):
        return path.read_bytes()
