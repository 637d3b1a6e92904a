"""What every row of the table promises."""

import re

import pytest

from fedbbpt.assets.table import ASSETS, CLIENTS


@pytest.mark.parametrize("name", ASSETS)
def test_row(name: str) -> None:
    asset = ASSETS[name]
    assert re.fullmatch("[0-9a-f]{64}", asset.sha256)
    assert asset.kind in CLIENTS
    assert asset.size > 1_000_000
    assert asset.licence
    assert asset.holds
    assert re.fullmatch("[a-z0-9-]+", name)  # it becomes a file name


def test_no_file_stands_there_twice() -> None:
    assert len({asset.sha256 for asset in ASSETS.values()}) == len(ASSETS)
