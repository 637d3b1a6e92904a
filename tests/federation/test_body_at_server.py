"""A split model over a real federation: processes with TLS between them, and the body at the server."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from fedbbpt.config import make_config
from fedbbpt.federation import jobs
from fedbbpt.federation.kits import Federation, Kit, open_kit
from fedbbpt.federation.site_config import SiteConfig
from fedbbpt.run import train
from tests.federation.in_memory import check_same_but_for_baselines, write_images

pytestmark = pytest.mark.timeout(600)  # a dozen processes start, and most of them load NVFlare or the model

SITES = ("a", "b")
BACKEND = {"name": "local-vit", "classifier": "mnist"}
SETTINGS: dict[str, Any] = {
    "rounds": 1,
    "data": {"shots_per_class": 2, "validation_shots_per_class": 1, "test_limit": 4},
    "algorithm": {"name": "sfprompt", "head_blocks": 1, "tail_blocks": 1},
}


def test_a_run_has_the_bits_queries_and_bytes_of_a_simulation_and_opens_no_port(
    federation: Federation,
    join: Callable[..., Any],
    nvflare_processes: Callable[[Kit], list[psutil.Process]],
    outcome: Callable[[Path], Any],
    tmp_path: Path,
) -> None:
    data = write_images(tmp_path / "data", SITES)
    kits = {site: open_kit(federation.folder / "sites" / site, "site") for site in SITES}
    for site, kit in kits.items():
        own = {"data": {"name": f"folder:{data / site}"}, "backend": BACKEND, "policy": {"share_activations": True}}
        SiteConfig.of(own).write(kit.folder)
    for site in [join(site) for site in SITES]:
        site.says("takes part in study")

    def listening() -> set[tuple[str, int]]:
        """The addresses and ports at which processes of the federation listen, the workers' included."""
        processes = [one for kit in (federation.server, *kits.values()) for one in nvflare_processes(kit)]
        connections = [connection for process in processes for connection in process.net_connections()]
        return {tuple(connection.laddr) for connection in connections if connection.status == psutil.CONN_LISTEN}

    before, during = listening(), []

    def tell(line: str) -> None:
        if line.startswith("round    0/1"):
            during.append(listening())

    (tmp_path / "run").mkdir()
    engine = {"name": "nvflare", "federation": str(federation.folder)}
    jobs.train(federation, SETTINGS | {"engine": engine}, None, tmp_path / "run", tell)
    train.train(
        make_config(SETTINGS | {"task": {"name": f"sites:{data}"}, "backend": BACKEND}), tmp_path / "simulation"
    )
    check_same_but_for_baselines(outcome(tmp_path / "run"), outcome(tmp_path / "simulation"))
    assert during == [before]
