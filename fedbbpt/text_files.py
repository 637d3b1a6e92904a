"""Reads files that users provide, or says why it cannot.

Each of these functions raises a `ValueError` whose message is a reason that stands in the caller's own sentence:
"cannot read run.toml: it is not UTF-8 (line 3); …".
"""

import bz2
import codecs
import gzip
import io
import lzma
import re
import tomllib
import zlib
from pathlib import Path
from typing import Any

BYTE_ORDER_MARKS = (  # byte order marks; those of UTF-32 begin as UTF-16's do
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
DECOMPRESSORS: dict[bytes, Any] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\0": lzma.open,
}  # by the first bytes
MAX_UNPACKED_BYTES = 2**30  # bytes
NOT_TEXT = {  # by the first bytes
    b"PAR1": "it is a Parquet file; use --task parquet:PATH",
    b"PK\3\4": "it is a ZIP archive or an Excel workbook; unpack it, or save the sheet as CSV",
    b"\xd0\xcf\x11\xe0": "it is an Excel workbook; save the sheet as CSV",
    b"\x28\xb5\x2f\xfd": "it is packed by zstd; unpack it with unzstd",
}
LINE_END = re.compile(r"\r\n?|\n")


def read_text(path: Path) -> str:
    """Reads a text file; drops the byte order mark and leaves line ends unchanged.

    It is UTF-8, or the UTF-16 or UTF-32 that its byte order mark announces; gzip, bzip2 or xz may have packed it.
    """
    data = _read_unpacked(path)
    mark, encoding = next(((mark, name) for mark, name in BYTE_ORDER_MARKS if data.startswith(mark)), (b"", "utf-8"))
    try:
        text = data[len(mark) :].decode(encoding).lstrip("\ufeff")  # some programs put another one
    except UnicodeDecodeError as e:
        if not mark and b"\0" in data:
            raise ValueError("it is no text, or UTF-16 without a byte order mark; save it as UTF-8 text") from e
        before = e.object[: e.start].decode(encoding)
        how = "" if mark else ", say with iconv -f WINDOWS-1252 -t UTF-8"
        raise ValueError(
            f"it is not {encoding.upper()} text (line {_line_number(before)}); save it as UTF-8{how}"
        ) from e
    before, zero, _ = text.partition("\0")
    if zero:
        raise ValueError(f"it holds a zero byte (line {_line_number(before)}), as no text does; save it as UTF-8 text")
    return text


def absolute_path(name: str) -> Path:
    """The absolute path of a file or folder, which need not exist."""
    try:
        path = Path(name).expanduser().resolve()
        str(path).encode()
    except UnicodeEncodeError as e:
        raise ValueError("its path is not UTF-8, as settings are; rename it") from e
    except (OSError, RuntimeError, ValueError) as e:  # a loop of links, a zero character
        raise ValueError(str(e).lower()) from e
    return path


def parse_toml(text: str) -> dict[str, Any]:
    """Parses TOML. Also refuses deep nesting and integers of more than 4,300 digits."""
    try:
        return tomllib.loads(text)
    except RecursionError as e:
        raise ValueError("it is nested too deeply") from e
    except tomllib.TOMLDecodeError:
        raise
    except ValueError as e:
        raise ValueError("it holds an integer of more than 4,300 digits") from e


def _read_unpacked(path: Path) -> bytes:
    """The content of a file, decompressed."""
    try:
        data = path.read_bytes()
    except OSError as e:
        raise ValueError((e.strerror or str(e)).lower()) from e
    while unpacking := next((opened for start, opened in DECOMPRESSORS.items() if data.startswith(start)), None):
        try:
            data = unpacking(io.BytesIO(data)).read(MAX_UNPACKED_BYTES + 1)
        except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError) as e:
            raise ValueError(f"it is packed, and damaged: {str(e).lower()}") from e
        if len(data) > MAX_UNPACKED_BYTES:
            raise ValueError(f"it unpacks to more than {MAX_UNPACKED_BYTES / 2**30:g} GiB; unpack it, if that is meant")
    for start, reason in NOT_TEXT.items():
        if data.startswith(start):
            raise ValueError(reason)
    return data


def _line_number(before: str) -> int:
    """The line number of the position behind this text."""
    return 1 + len(LINE_END.findall(before))
