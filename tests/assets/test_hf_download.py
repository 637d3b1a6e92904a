"""Files of the hub, from a stand-in for its client: no hub is asked."""

import sys
from pathlib import Path

import huggingface_hub
import pytest
from click.testing import CliRunner

from fedbbpt.assets import catalogue, store
from fedbbpt.assets.asset import Asset
from fedbbpt.cli import main
from fedbbpt.errors import DataError, MissingExtra

REVISION = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[dict[str, object]]:
    """A hub whose repository `some/set` has one file; what it is asked is kept."""
    monkeypatch.setenv("FEDBBPT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("FEDBBPT_OFFLINE", raising=False)
    row = Asset("hub", "some/set", REVISION, "", 0, "none", "nothing", ("data/train-*.parquet",))
    monkeypatch.setitem(catalogue.ASSETS, "toy", row)
    asked: list[dict[str, object]] = []

    def snapshot_download(repository: str, local_dir: Path, **options: object) -> None:
        asked.append({"repository": repository, **options})
        for path in ("data/train-0.parquet", ".cache/huggingface/lock"):
            (local_dir / path).parent.mkdir(parents=True, exist_ok=True)
            (local_dir / path).write_bytes(b"rows")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    return asked


def test_the_revision_is_pinned_and_the_files_are_fetched_once(hub: list[dict[str, object]]) -> None:
    assert store.verify("toy") == "missing"
    for _ in range(2):
        folder = store.fetch("toy")
    assert [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()] == [
        "data/train-0.parquet"
    ]
    assert hub == [
        {
            "repository": "some/set",
            "repo_type": "dataset",
            "revision": REVISION,
            "allow_patterns": ["data/train-*.parquet"],
        }
    ]
    assert store.verify("toy") == "unverified"


def test_a_hub_that_fails_leaves_nothing(hub: list[dict[str, object]], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, local_dir: Path, **__: object) -> None:
        local_dir.mkdir()
        (local_dir / "half.parquet").write_bytes(b"ro")
        raise OSError("Access to some/set is restricted.\nlong explanation")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    with pytest.raises(DataError, match=r"did not deliver some/set \(Access to some/set is restricted\)\. .*HF_TOKEN"):
        store.fetch("toy")
    assert store.verify("toy") == "missing"
    assert not list(store.path("toy").parent.glob(".toy-*"))


def test_a_revision_without_the_files(hub: list[dict[str, object]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, local_dir, **__: local_dir.mkdir())
    with pytest.raises(DataError, match=r"none of data/train-\*\.parquet at 0123"):
        store.fetch("toy")


def test_offline_it_is_not_asked(hub: list[dict[str, object]]) -> None:
    with pytest.raises(DataError, match="may not be fetched offline"):
        store.fetch("toy", offline=True)
    assert not hub


def test_without_its_client_the_extra_is_named(hub: list[dict[str, object]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingExtra, match="'hub' extra"):
        store.fetch("toy")


def test_commands(hub: list[dict[str, object]], tmp_path: Path) -> None:
    def assets(*arguments: str) -> str:
        return CliRunner().invoke(main, ["assets", *arguments]).output

    assert "fetching toy (hub)" in assets("get", "toy")
    assert any(line.split()[:4] == ["toy", "?", "hub", "here"] for line in assets("list").splitlines())
    assert "unverified" in assets("verify", "toy")
    assert "cannot be taken from one" in assets("get", "toy", "--from", str(tmp_path))
