"""Real sites, each with processes and data of its own and TLS to the server.

Their runs end with the bits of a simulation, and the server receives nothing of their data.
"""

import contextlib
import inspect
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image

from fedbbpt import registry
from fedbbpt.config import make_config
from fedbbpt.federation import jobs
from fedbbpt.federation.kits import Federation, Kit, open_kit
from fedbbpt.federation.site_config import SiteConfig
from fedbbpt.run import train
from tests.federation.in_memory import (
    Colours,
    check_same_but_for_baselines,
    save_language_model,
    without_places,
    write_images,
    write_texts,
)

pytestmark = pytest.mark.timeout(600)  # two dozen processes start, and most of them load NVFlare or a model

SITES = ("a", "b", "c", "d")
PLANTED = np.random.default_rng(7).integers(0, 256, (8, 3), np.uint8)  # a row of pixels
LETTER = b'"letter":{"dtype"'  # the head of a site's letter to another site
VIT = {"name": "local-vit", "classifier": "mnist", "dtype": "float32"}
COLOURS = {"name": "colours"}  # a third party's, which opens at once
SIZE: dict[str, Any] = {
    "rounds": 1,
    "data": {"shots_per_class": 2, "validation_shots_per_class": 1, "test_limit": 4},
}
IMAGES: dict[str, dict[str, Any]] = {
    "default": {"backend": VIT},
    "fedavg": {"backend": COLOURS, "algorithm": {"name": "fedavg", "local_steps": 2}},
    "fedbpt": {"backend": COLOURS, "algorithm": {"name": "fedbpt", "local_steps": 2, "population_size": 3}},
    "gossip": {"backend": COLOURS, "algorithm": {"name": "gossip", "topology": "ring", "gossip_steps": 2}},
    "flood": {"backend": COLOURS, "algorithm": {"name": "flood", "topology": "ring"}},
    "sfprompt": {"backend": VIT, "algorithm": {"name": "sfprompt", "head_blocks": 1, "tail_blocks": 1}},
}
TEXTS: dict[str, dict[str, Any]] = {
    "discrete": {
        "prompt": {"name": "discrete", "num_tokens": 3, "vocabulary_size": 8},
        "readout": {"name": "identity"},
        "optimizer": {"name": "bdpl"},
    }
}


@pytest.fixture(scope="module", autouse=True)
def received(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of what the server's processes receive. See `wiretap`. All processes find the backend `colours`."""
    folder, installed = tmp_path_factory.mktemp("received"), tmp_path_factory.mktemp("installed")
    registry.register("backends", "colours", Colours)
    shutil.copy(str(inspect.getsourcefile(Colours)), installed / "colours.py")
    (info := installed / "colours-1.0.dist-info").mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: colours\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[fedbbpt.backends]\ncolours = colours:Colours\n")
    with pytest.MonkeyPatch.context() as environment:
        environment.syspath_prepend(installed)  # which the workers of a simulation take over
        environment.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent / "wiretap"), str(installed)]))
        environment.setenv("FEDBBPT_WIRETAP", str(folder))
        yield folder


@pytest.fixture(scope="module")
def kits(federation: Federation, join: Callable[..., Any]) -> dict[str, Kit]:
    """The kits of the sites, which take part."""
    for site in [join(site) for site in SITES]:
        site.says("takes part in study")
    return {site: open_kit(federation.folder / "sites" / site, "site") for site in SITES}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What the sites hold, by kind; the first row of every image is PLANTED."""
    root = tmp_path_factory.mktemp("data")
    images = write_images(root / "images", SITES)
    for path in images.rglob("*.png"):
        pixels = np.array(Image.open(path))
        pixels[0] = PLANTED
        Image.fromarray(pixels).save(path)
    return {"folder": images, "csv": write_texts(root / "texts", SITES)}


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A language model that every site loads."""
    model = save_language_model(tmp_path_factory.mktemp("model"))
    verbalizer = {"classifier": "verbalizer", "label_words": ["dull", "fine"]}
    return {"name": "hf-text", "model": f"dir:{model}", "dtype": "float32", **verbalizer}


def contents(folder: Path) -> list[bytes]:
    """The contents of all files in a folder."""
    return [path.read_bytes() for path in folder.rglob("*") if path.is_file()]


def private(data: Path) -> set[bytes]:
    """What of the examples the server may not see: PLANTED, as images hold it, and each site's first text."""
    rows = [PLANTED, *PLANTED.T]
    texts = [path.read_text().splitlines()[1].rpartition(",")[0].encode() for path in data.glob("*.csv")]
    return {form.tobytes() for row in rows for form in (row, row.astype(np.float32) / 255)} | set(texts)


@pytest.mark.parametrize("name", [*IMAGES, *TEXTS])
def test_a_run_has_the_bits_queries_and_bytes_of_a_simulation_and_opens_no_port(
    name: str,
    federation: Federation,
    kits: dict[str, Kit],
    data: dict[str, Path],
    reader: dict[str, Any],
    received: Path,
    nvflare_processes: Callable[[Kit], list[psutil.Process]],
    outcome: Callable[[Path], Any],
    tmp_path: Path,
) -> None:
    kind, suffix = ("folder", "") if name in IMAGES else ("csv", ".csv")
    settings = SIZE | (IMAGES | TEXTS)[name]
    backend = settings.pop("backend", reader)
    for site, kit in kits.items():
        held = {"name": f"{kind}:{data[kind] / site}{suffix}"}
        allowed = {"share_words": True, "share_activations": True}
        SiteConfig.of({"data": held, "backend": backend, "policy": allowed}).write(kit.folder)

    for file in received.iterdir():
        os.truncate(file, 0)  # what the run before has sent

    def listening() -> set[tuple[str, int]]:
        """The addresses and ports at which processes of the federation listen, the workers' included."""
        connections = []
        for process in (one for kit in (federation.server, *kits.values()) for one in nvflare_processes(kit)):
            with contextlib.suppress(psutil.NoSuchProcess):  # the worker of the run before ends meanwhile
                connections += process.net_connections()
        return {tuple(connection.laddr) for connection in connections if connection.status == psutil.CONN_LISTEN}

    before, during = listening(), []

    def tell(line: str) -> None:
        if line.startswith("round    0/1"):
            during.append(listening())

    engine = {"name": "nvflare", "federation": str(federation.folder)}
    jobs.train(federation, settings | {"engine": engine}, None, tmp_path / "nvflare", tell)
    assert during == [before]

    heard, written = contents(received), contents(federation.server.folder) + contents(tmp_path / "nvflare")
    assert any(known in content for content in heard for known in (b"green", b"dull"))  # classes, which it may know
    assert not any(LETTER in content for content in heard)  # they pass the server, encrypted for their receivers
    assert not [piece for piece in private(data[kind]) for content in heard + written if piece in content]

    simulated = settings | {"task": {"name": f"sites:{data[kind]}"}, "backend": backend}
    for simulator in ({"name": "serial"}, {"name": "processes", "workers": 1}):  # more of them: engines/test_run
        train.train(make_config(simulated | {"engine": simulator}), tmp_path / simulator["name"])
    found, serial, processes = (outcome(tmp_path / engine) for engine in ("nvflare", "serial", "processes"))
    assert processes == serial
    if name == "sfprompt":  # whose clients cannot query the model as it is
        check_same_but_for_baselines(found, serial)
    else:
        assert without_places(found) == without_places(serial)
