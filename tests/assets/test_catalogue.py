"""What every row of the table promises."""

import re

import pytest

from fedbbpt.assets.asset import CLIENTS
from fedbbpt.assets.catalogue import ASSETS


@pytest.mark.parametrize("name", ASSETS)
def test_row(name: str) -> None:
    asset = ASSETS[name]
    assert asset.kind in CLIENTS
    if asset.kind == "hub":
        assert re.fullmatch("[0-9a-f]{40}", asset.version)
        assert re.fullmatch(r"[\w.-]+/[\w.-]+", asset.package)
        assert asset.files
        assert not asset.sha256
    else:
        assert re.fullmatch("[0-9a-f]{64}", asset.sha256)
        assert asset.size > 1_000_000
    assert asset.licence
    assert asset.description
    assert re.fullmatch("[a-z0-9-]+", name)  # it becomes a file name


def test_no_file_stands_there_twice() -> None:
    assert len({(asset.content_id, asset.files) for asset in ASSETS.values()}) == len(ASSETS)
