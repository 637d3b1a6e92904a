"""All sites of a run compute in one dtype, whatever each machine is fastest in; over a channel in memory."""

import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from fedbbpt import registry
from fedbbpt.backend import BackendOutput, Provider
from fedbbpt.config import make_config
from fedbbpt.errors import ConfigError, FederationError
from fedbbpt.federation.kits import Kit, KitDescription
from fedbbpt.federation.results import copy_result, find_result
from fedbbpt.federation.server import resume_run
from fedbbpt.federation.site_config import SiteConfig
from fedbbpt.federation.site_host import RunTerms, run_config
from fedbbpt.run import train
from fedbbpt.run.callback import Callback
from fedbbpt.types import Inputs
from tests.federation.in_memory import Colours, MemoryChannel, Messages, open_sites, without_places, write_images
from tests.federation.test_halves import SITES, settings_of, simulate, train_at

opened: list[str] = []  # in which dtypes, in turn
fastest: list[str] = []  # of the machines that are asked next


class Timed(Colours):
    """Answers more coarsely in bfloat16, which some machines are fastest in."""

    def __init__(self, provider: Provider, /, *, dtype: Literal["auto", "float32", "bfloat16"] = "auto") -> None:
        super().__init__(provider)
        opened.append(dtype)
        self.dtype = fastest.pop(0) if dtype == "auto" else dtype
        self.info = replace(self.info, resolved={"dtype": self.dtype})

    def query(self, inputs: Inputs) -> BackendOutput:
        """See `Backend`."""
        scores = super().query(inputs).scores
        return BackendOutput(scores.astype(np.float16).astype(np.float32) if self.dtype == "bfloat16" else scores)


@pytest.fixture(autouse=True)
def timed() -> None:
    registry.register("backends", "colours", Timed)
    opened.clear()
    fastest.clear()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_images(tmp_path / "data", SITES)


@pytest.fixture
def sites(data: Path, tmp_path: Path) -> Callable[..., MemoryChannel]:
    """`sites(paris="float32")`: the sites, of which some name a dtype."""

    def start(**named: str) -> MemoryChannel:
        channel = open_sites(tmp_path / "kits", data)
        for site, dtype in named.items():
            kit = tmp_path / "kits" / site
            settings = {"data": {"name": f"folder:{data / site}"}, "backend": {"name": "colours", "dtype": dtype}}
            SiteConfig.of(settings).write(kit)
        return channel

    return start


def dtype_in(run: Path) -> str:
    return str(tomllib.loads((run / "config.toml").read_text())["backend"]["dtype"])


def test_sites_that_are_fastest_in_different_dtypes_compute_in_float32(
    sites: Callable[..., MemoryChannel], data: Path, tmp_path: Path, outcome: Callable[[Path], Any]
) -> None:
    fastest[:], messages = ["float32", "bfloat16", "float32"], Messages(1)
    with pytest.raises(KeyboardInterrupt):
        train_at(sites(), settings_of("fedavg"), tmp_path / "run", messages)
    told = "the sites are not all fastest in the same dtype (berlin float32, paris bfloat16, rome float32); all compute"
    assert f"{told} in float32" in messages.texts
    resume_run(sites(), tmp_path / "run", Callback())  # nobody chooses again
    assert opened == ["auto"] * 3 + ["float32"] * 6
    assert dtype_in(tmp_path / "run") == "float32"
    settings = settings_of("fedavg") | {"task": {"name": f"sites:{data}"}, "engine": {"name": "serial"}}
    simulated = make_config(settings | {"backend": {"name": "colours", "dtype": "float32"}})
    train.train(simulated, tmp_path / "simulation")
    assert without_places(outcome(tmp_path / "run")) == without_places(outcome(tmp_path / "simulation"))


def test_sites_that_are_fastest_in_the_same_dtype_compute_in_it(
    sites: Callable[..., MemoryChannel], data: Path, tmp_path: Path, outcome: Callable[[Path], Any]
) -> None:
    fastest[:] = ["bfloat16"] * 4  # the fourth is the simulation's
    with pytest.raises(KeyboardInterrupt):
        train_at(sites(), settings_of("fedavg"), tmp_path / "run", Messages(1))
    resume_run(sites(), tmp_path / "run", Callback())
    assert opened == ["auto"] * 3 + ["bfloat16"] * 3
    simulate(data, "fedavg", tmp_path / "simulation")
    assert without_places(outcome(tmp_path / "run")) == without_places(outcome(tmp_path / "simulation"))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_dtype_that_a_site_names_holds_for_those_that_name_none(
    dtype: str, sites: Callable[..., MemoryChannel], tmp_path: Path
) -> None:
    train_at(sites(paris=dtype), settings_of("fedavg"), tmp_path / "run")
    assert opened == [dtype] * 3
    assert dtype_in(tmp_path / "run") == dtype


def test_sites_that_name_different_dtypes_are_refused(sites: Callable[..., MemoryChannel], tmp_path: Path) -> None:
    both = "berlin queries colours dtype=float32 and rome queries colours dtype=bfloat16; all sites of a run need"
    with pytest.raises(FederationError, match=both):
        train_at(sites(berlin="float32", rome="bfloat16"), settings_of("fedavg"), tmp_path / "run")
    assert not opened


def test_a_site_that_names_another_dtype_since_the_run_began_is_refused(
    sites: Callable[..., MemoryChannel], tmp_path: Path
) -> None:
    fastest[:] = ["float32"] * 3
    with pytest.raises(KeyboardInterrupt):
        train_at(sites(), settings_of("fedavg"), tmp_path / "run", Messages(1))
    both = "berlin computes in float32 and paris computes in bfloat16; all sites of a run need one dtype"
    with pytest.raises(FederationError, match=both):
        resume_run(sites(paris="bfloat16"), tmp_path / "run", Callback())


def test_a_site_uses_the_result_in_the_dtype_of_the_run(sites: Callable[..., MemoryChannel], tmp_path: Path) -> None:
    fastest[:] = ["bfloat16", "float32", "bfloat16"]
    train_at(sites(), settings_of("fedavg"), tmp_path / "run")
    kit = Kit(tmp_path / "kits" / "paris", KitDescription("study", "site", "paris", "127.0.0.1", 1))
    copy_result(kit, find_result(kit), tmp_path / "copy")
    assert dtype_in(tmp_path / "copy") == "float32"


def test_a_job_can_name_no_dtype_that_the_backend_does_not_know(
    sites: Callable[..., MemoryChannel], tmp_path: Path
) -> None:
    sites()
    own = SiteConfig.read(tmp_path / "kits" / "rome")
    for asked in ('"half"', "[1]"):
        terms = RunTerms("0" * 32, f"[backend]\nname = 'x'\ndtype = {asked}", ("blue", "red"))
        with pytest.raises(ConfigError, match=r"backend\.dtype"):
            run_config(own, terms)
    assert run_config(own, RunTerms("0" * 32, "backend = 5", ("blue", "red"))).backend == own.backend


def test_a_split_model_needs_a_dtype_that_is_named(sites: Callable[..., MemoryChannel], tmp_path: Path) -> None:
    settings = settings_of("fedavg") | {"algorithm": {"name": "sfprompt", "dtype": "auto"}}
    with pytest.raises(ConfigError, match=r"set algorithm\.dtype to float32 or bfloat16"):
        train_at(sites(), settings, tmp_path / "run")
