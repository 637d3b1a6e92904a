"""Texts from files of their own."""

import gzip
from pathlib import Path

import pytest

from fedbbpt.data import cells
from fedbbpt.data.texts import open_text
from fedbbpt.errors import DataError

TEXT = " süß \nund so"


def opened(folder: Path, data: bytes) -> str:
    path = folder / "new.txt"
    path.write_bytes(data)
    return open_text(path)


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
def test_a_file_is_the_text_that_a_cell_is(data: bytes, tmp_path: Path) -> None:
    assert opened(tmp_path, data) == cells.text(TEXT) == TEXT


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ("süß".encode("cp1252"), r"cannot read .*new\.txt: it is not UTF-8 text \(line 1\)"),
        (b"a\n\0", r"zero byte \(line 2\)"),
        (b"", r"new\.txt holds no text"),
        (b"\xef\xbb\xbf \r\n", "holds no text"),
    ],
)
def test_what_is_no_text(data: bytes, reason: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=reason):
        opened(tmp_path, data)
