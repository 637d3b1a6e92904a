"""Opens once what a site brings, before the site takes part, and says what is there."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import numpy as np

from fedbbpt.config import make_config
from fedbbpt.config.components import build_task
from fedbbpt.data.sites import SiteTask
from fedbbpt.errors import FederationError
from fedbbpt.federation.policy import Policy
from fedbbpt.federation.site_config import SiteConfig
from fedbbpt.run.client_data import describe_client, site_client
from fedbbpt.run.model import load_backend
from fedbbpt.run.opening import check_payable
from fedbbpt.services.ledger import Account

MAX_CLASSES_SHOWN = 20

Description = list[tuple[str, str]]  # for people, as pairs (name, text)


def check_site(own: SiteConfig, name: str) -> Description:
    """Opens a site's data and model in a process of its own, which takes what they occupy along when it ends.

    Nothing is asked of the model.

    Raises:
        FedbbptError: data, model, key or policy cannot be used.
    """
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as processes:
        try:
            return processes.submit(describe_site, own, name).result()
        except BrokenProcessPool as e:
            raise FederationError(
                "the process that opens the data and the model was killed, perhaps since memory ran out; choose a "
                "smaller model, or end other programs"
            ) from e


def describe_site(own: SiteConfig, name: str) -> Description:
    """Opens a site's data and model, and describes them and the site's limits.

    Raises:
        FedbbptError: as `check_site`.
    """
    config = make_config(own.run_settings)
    task = build_task(own.data)
    site_task = SiteTask(task, task.classes)
    backend = load_backend(config, site_task, site_task.provider)
    check_payable(backend, Account(budget=own.policy.budget))
    pool = site_task.load(backend.info.input_size)
    counts = np.bincount(np.concatenate([pool.train.labels, pool.test.labels]), minlength=len(task.classes))
    shown = [f"{label} ({count:,})" for label, count in zip(task.classes, counts, strict=True)][:MAX_CLASSES_SHOWN]
    more = [f"and {len(task.classes) - len(shown):,} more"] if len(task.classes) > len(shown) else []
    return [
        ("data", own.data.name),
        ("classes", f"{len(task.classes):,}: {', '.join([*shown, *more])}"),
        ("split", f"{describe_client(site_client(config, name, pool))}, if a run asks for no other number of examples"),
        *(("note", remark) for remark in task.remarks),
        ("backend", f"{own.backend.name}, model {backend.info.model}"),
        ("policy", _describe_policy(own.policy)),
    ]


def _describe_policy(policy: Policy) -> str:
    limits = [
        f"at most {limit:,} {what}"
        for what in ("rounds", "queries", "requests")
        if (limit := getattr(policy, f"max_{what}")) is not None
    ]
    if policy.max_cost is not None:
        limits.append(f"at most ${policy.max_cost}")
    algorithms = "all algorithms" if policy.algorithms is None else f"algorithms {', '.join(policy.algorithms)}"
    words = "words are counted for the server" if policy.share_words else "no words are counted for the server"
    activations = "activations go to the server" if policy.share_activations else "no activations go to the server"
    return ", ".join([*(limits or ["no limit for a run"]), algorithms, words, activations])
