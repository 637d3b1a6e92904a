"""Texts from files of their own."""

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest

from fedbbpt.data import cells
from fedbbpt.data.texts import open_text
from fedbbpt.errors import DataError

TEXT = " süß \nund so"


@pytest.fixture
def opened(tmp_path: Path) -> Callable[[bytes], str]:
    def read(data: bytes) -> str:
        path = tmp_path / "new.txt"
        path.write_bytes(data)
        return open_text(path)

    return read


@pytest.mark.parametrize(
    "data",
    [
        TEXT.encode(),
        f"{TEXT}\n".encode("utf-8-sig"),
        f"{TEXT}\r\n".replace("\n", "\r\n").encode("utf-16"),
        gzip.compress(TEXT.replace("\n", "\r").encode()),
    ],
    ids=["as it is", "with a mark and an end", "of Windows", "of old Macs, packed"],
)
def test_a_file_is_the_text_that_a_cell_is(data: bytes, opened: Callable[[bytes], str]) -> None:
    assert opened(data) == cells.text(TEXT) == TEXT


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ("süß".encode("cp1252"), r"cannot read .*new\.txt: it is not UTF-8 text \(line 1\)"),
        (b"a\n\0", r"zero byte \(line 2\)"),
        (b"", r"new\.txt holds no text"),
        (b"\xef\xbb\xbf \r\n", "holds no text"),
    ],
)
def test_what_is_no_text(data: bytes, reason: str, opened: Callable[[bytes], str]) -> None:
    with pytest.raises(DataError, match=reason):
        opened(data)
