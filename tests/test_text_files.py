"""Files of other people."""

import bz2
import codecs
import gzip
import lzma
from collections.abc import Callable
from pathlib import Path

import pytest

from fedbbpt.text_files import absolute_path, parse_toml, read_text

TEXT = "süß\r\n日本 🙂\n"


@pytest.fixture
def file(tmp_path: Path) -> Callable[[bytes], Path]:
    def written(data: bytes) -> Path:
        path = tmp_path / "file"
        path.write_bytes(data)
        return path

    return written


@pytest.mark.parametrize(
    "data",
    [
        TEXT.encode(),
        TEXT.encode("utf-8-sig"),
        f"\ufeff{TEXT}".encode("utf-8-sig"),
        codecs.BOM_UTF16_LE + TEXT.encode("utf-16-le"),
        codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"),
        TEXT.encode("utf-32"),
        gzip.compress(TEXT.encode()),
        gzip.compress(bz2.compress(TEXT.encode())),
        bz2.compress(TEXT.encode()),
        lzma.compress(TEXT.encode("utf-8-sig")),
    ],
    ids=["UTF-8", "with a mark", "with two", "UTF-16", "UTF-16 BE", "UTF-32", "gzip", "bzip2 in gzip", "bzip2", "xz"],
)
def test_text_is_read_as_it_was_written(data: bytes, file: Callable[[bytes], Path]) -> None:
    assert read_text(file(data)) == TEXT


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ("a\r\nb\rc\nsüß".encode("cp1252"), r"not UTF-8 text \(line 4\); save it as UTF-8, .*iconv"),
        (codecs.BOM_UTF16_LE + b"a\0\n\0\0\xd8b\0", r"not UTF-16-LE text \(line 2\)"),
        ("text\nlabel".encode("utf-16-le"), r"zero byte \(line 1\)"),
        (b"a\nb\0", r"zero byte \(line 2\)"),
        (b"\x89PNG\r\n\0", "it is no text, or UTF-16 without a byte order mark"),
        (gzip.compress(TEXT.encode() * 99)[:-20], "it is packed, and damaged"),
        (gzip.compress(TEXT.encode() * 99)[:20] + b"x" * 99, "it is packed, and damaged"),
        (bz2.compress(TEXT.encode() * 99)[:-20], "it is packed, and damaged"),
        (lzma.compress(TEXT.encode() * 99)[:-20], "it is packed, and damaged"),
        (b"PK\3\4....", "ZIP archive or an Excel workbook; unpack it, or save the sheet as CSV"),
        (b"PAR1....", "--task parquet:PATH"),
        (b"\x28\xb5\x2f\xfd....", "unzstd"),
    ],
)
def test_what_is_no_text_is_refused_with_a_reason(data: bytes, reason: str, file: Callable[[bytes], Path]) -> None:
    with pytest.raises(ValueError, match=reason):
        read_text(file(data))


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_what_unpacks_to_too_much(
    pack: Callable[[bytes], bytes], file: Callable[[bytes], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = file(pack(b"a" * 5000))
    monkeypatch.setattr("fedbbpt.text_files.MAX_UNPACKED_BYTES", 5000)
    assert len(read_text(path)) == 5000
    monkeypatch.setattr("fedbbpt.text_files.MAX_UNPACKED_BYTES", 4999)
    with pytest.raises(ValueError, match="unpacks to more than"):
        read_text(path)


def test_no_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such file"):
        read_text(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="is a directory"):
        read_text(tmp_path)
    with pytest.raises(ValueError, match="name too long"):
        read_text(tmp_path / ("n" * 300))


def test_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert absolute_path("new/../file") == absolute_path("~/file") == tmp_path / "file"
    (tmp_path / "loop").symlink_to("loop")
    for name in ("a\0b", "\udcff"):
        with pytest.raises(ValueError, match=r"null|not UTF-8"):
            absolute_path(name)
    with pytest.raises(ValueError, match=r"loop|too many levels"):
        read_text(absolute_path("loop"))


@pytest.mark.parametrize(
    ("text", "reason"),
    [("a = " + "[" * 10**5, "nested too deeply"), ("a = " + "9" * 5000, "4,300 digits"), ("a = = 1", "Invalid value")],
)
def test_toml_that_is_refused(text: str, reason: str) -> None:
    assert parse_toml("a = {b = [1]}") == {"a": {"b": [1]}}
    with pytest.raises(ValueError, match=reason):
        parse_toml(text)
