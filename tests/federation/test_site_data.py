"""A site splits its data in a real federation exactly as a simulation splits them for it."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fedbbpt.config import make_config
from fedbbpt.config.components import build_task
from fedbbpt.data.sites import Sites, SiteTask
from fedbbpt.errors import DataError, FederationError
from fedbbpt.federation.enrolment import BackendChoice, Introduction, agreed_classes
from fedbbpt.federation.site_config import SiteConfig
from fedbbpt.run.client_data import make_client_data, site_client
from fedbbpt.run.train import train
from fedbbpt.types import Client, Size

SUBSETS = ("train", "validation", "test")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Four sites; each lacks another class, and one holds a single one."""
    rng = np.random.default_rng(0)
    for site, classes in {"rome": "ab", "berlin": "bc", "paris": "ac", "vienna": "c"}.items():
        for name in classes:
            (tmp_path / site / name).mkdir(parents=True)
            for i in range(40):
                pixels = rng.integers(0, 256, (8, 8, 3), np.uint8)
                Image.fromarray(pixels).save(tmp_path / site / name / f"{i}.png")
    return tmp_path


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    """Three sites with tables of patients, three texts each; one holds a single class."""
    for site, classes in {"rome": ("no", "yes"), "berlin": ("maybe", "yes"), "vienna": ("no", "no")}.items():
        rows = [f"{site}: {i},{classes[i // 3 % 2]},{i // 3}" for i in range(150)]
        (tmp_path / f"{site}.csv").write_text("\n".join(["text,label,patient", *rows]))
    return tmp_path


def content(client: Client) -> list[tuple[list[bytes], list[int]]]:
    subsets = [client.subset(name) for name in SUBSETS]
    return [(list(data.contents()), data.labels.tolist()) for data in subsets]


def check_same(folder: Path, kind: str, size: Size, **columns: str) -> None:
    simulated = Sites(str(folder), **columns)
    config = make_config({"task": {"name": f"sites:{folder}"}, "data": {"shots_per_class": 12, "test_limit": 10}})
    clients = make_client_data(config, simulated, simulated.load(size)).clients
    assert len(clients) == len(list(folder.iterdir()))
    for client, path in zip(clients, sorted(folder.iterdir()), strict=True):
        own = SiteConfig.of({"data": {"name": f"{kind}:{path}", **columns}})
        real = site_client(config, path.stem, SiteTask(build_task(own.data), simulated.classes).load(size))
        assert real.id == client.id
        assert content(real) == content(client)
        assert all(len(client.subset(name)) for name in SUBSETS)


def test_images(images: Path) -> None:
    check_same(images, "folder", (8, 8))


def test_texts_with_groups(texts: Path) -> None:
    check_same(texts, "csv", None, group_column="patient")


def test_one_class_at_all_sites_together_is_too_few(images: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    root = tmp_path_factory.mktemp("single")
    for site in ("linz", "vienna"):
        shutil.copytree(images / "vienna", root / "sites" / site)
    settings = {"task": {"name": f"sites:{root / 'sites'}"}, "backend": {"name": "local-vit", "classifier": "mnist"}}
    with pytest.raises(DataError, match="has one class only, 'c'; a run needs at least two"):
        train(make_config(settings), root / "run")
    backend = BackendChoice(name="local-vit", options={})
    one = Introduction(version="1", modality="image", classes=["c"], backend=backend)
    with pytest.raises(FederationError, match="the sites hold one class only, 'c'"):
        agreed_classes({"linz": one, "vienna": one}, None)
