"""Nodes at sites of a federation that write to each other: the same as in a simulation."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fedbbpt import registry
from fedbbpt.config import make_config
from fedbbpt.federation.server import resume_run, train_run
from fedbbpt.run import train
from fedbbpt.run.callback import Callback
from tests.federation.in_memory import Colours, MemoryChannel, Messages, open_sites, without_places, write_images

SITES = ("berlin", "oslo", "paris", "rome")
SETTINGS: dict[str, Any] = {"rounds": 3, "data": {"shots_per_class": 3, "validation_shots_per_class": 2}}
SHARPNESS = {"measure_sharpness": True}
ALGORITHMS: dict[str, dict[str, Any]] = {
    "top-k": {"name": "gossip", "topology": "ring", "gossip_steps": 2, "compression": "top-k:0.3"},
    "int8": {"name": "gossip", "topology": "ring", "compression": "int8", **SHARPNESS},
    "sfprompt": {"name": "gossip-sfprompt", "topology": "ring", "rho": 0.05, "compression": "int8", **SHARPNESS},
}


@pytest.fixture(autouse=True)
def backend() -> None:
    registry.register("backends", "colours", Colours)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_images(tmp_path / "data", SITES)


def settings_of(name: str, **more: Any) -> dict[str, Any]:
    return SETTINGS | {"algorithm": ALGORITHMS[name]} | more


def train_at(channel: MemoryChannel, name: str, out: Path, callback: Callback | None = None) -> None:
    out.mkdir(exist_ok=True)
    engine = {"name": "nvflare", "federation": "x"}
    train_run(channel, settings_of(name, engine=engine), None, out, callback or Callback())


@pytest.mark.parametrize("name", ALGORITHMS)
def test_sites_end_with_the_bits_and_bytes_of_a_simulation(
    name: str, data: Path, tmp_path: Path, outcome: Callable[[Path], Any]
) -> None:
    train_at(open_sites(tmp_path / "kits", data), name, tmp_path / "sites")
    settings = settings_of(name, task={"name": f"sites:{data}"}, backend={"name": "colours"})
    (tmp_path / "simulation").mkdir()
    train.train(make_config(settings), tmp_path / "simulation")
    assert without_places(outcome(tmp_path / "sites")) == without_places(outcome(tmp_path / "simulation"))


@pytest.mark.parametrize("name", ["top-k", "sfprompt"])
def test_a_stopped_run_goes_on_to_the_same_bits(
    name: str, data: Path, tmp_path: Path, outcome: Callable[[Path], Any]
) -> None:
    train_at(open_sites(tmp_path / "kits", data), name, tmp_path / "whole")
    kits = tmp_path / "other"
    with pytest.raises(KeyboardInterrupt):
        train_at(open_sites(kits, data), name, tmp_path / "stopped", Messages(2))
    resume_run(open_sites(kits, data), tmp_path / "stopped", Callback())  # all sites were started anew
    assert outcome(tmp_path / "stopped") == outcome(tmp_path / "whole")
