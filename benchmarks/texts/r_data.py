"""Reads data frames from an R package: its lazy-load database, and the part of R's serialisation that it needs.

Formats: "R Internals", sections 1.8 (serialization, XDR) and 1.10 of lazy-loading; `compressed = 3` is LZMA, raw.
"""

import gzip
import lzma
import struct
from collections.abc import Mapping
from typing import Any

SYMBOL, PAIRS, CHARACTERS, LOGICALS, INTEGERS, REALS, STRINGS, LIST = 1, 2, 9, 10, 13, 14, 16, 19
NIL, REFERENCE = 254, 255
HAS_ATTRIBUTES, HAS_TAG = 1 << 9, 1 << 10
LZMA2 = [{"id": lzma.FILTER_LZMA2, "preset": 6}]


def load(index: bytes, base: bytes, name: str) -> dict[str, Any]:
    """A data frame by name, from a package's `Rdata.rdx` and `Rdata.rdb`: its columns, factors as their labels.

    Raises:
        KeyError: no data frame of that name.
        ValueError: the file uses a format that is not supported here.
    """
    start, length = _Reader(gzip.decompress(index)).read()["variables"][name]
    piece = base[start : start + length]
    if piece[4:5] != b"Z":
        raise ValueError(f"{name} is not LZMA-compressed")
    frame: dict[str, Any] = _Reader(lzma.decompress(piece[5:], lzma.FORMAT_RAW, filters=LZMA2)).read()
    return frame


class _Reader:
    """One pass over a serialised object."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at, self._symbols = data, 0, list[str]()
        if data[:2] != b"X\n":
            raise ValueError("not R's binary serialisation")
        self._at = 14
        if struct.unpack(">i", data[2:6])[0] == 3:  # from version 3 on, the name of the encoding follows
            self._bytes(self._integer())

    def read(self) -> Any:
        """The next object: list, mapping by names, or None."""
        flags = self._integer()
        kind = flags & 255
        if kind == NIL:
            return None
        if kind == REFERENCE:
            return self._symbols[(flags >> 8) - 1]
        if kind == SYMBOL:
            self._symbols.append(self.read())
            return self._symbols[-1]
        if kind == PAIRS:
            return self._pairs(flags)
        if kind == CHARACTERS:
            length = self._integer()
            return None if length < 0 else self._bytes(length).decode()
        values = self._values(kind, self._integer())
        return _described(values, self.read() or {}) if flags & HAS_ATTRIBUTES else values

    def _values(self, kind: int, count: int) -> list[Any]:
        if kind in (LOGICALS, INTEGERS):
            return list(struct.unpack(f">{count}i", self._bytes(4 * count)))
        if kind == REALS:
            return list(struct.unpack(f">{count}d", self._bytes(8 * count)))
        if kind in (STRINGS, LIST):
            return [self.read() for _ in range(count)]
        raise ValueError(f"objects of type {kind} are not read here")

    def _pairs(self, flags: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while flags & 255 == PAIRS:
            if flags & HAS_ATTRIBUTES:
                self.read()
            tag = self.read() if flags & HAS_TAG else str(len(found))
            found[tag] = self.read()
            flags = self._integer()
        return found

    def _integer(self) -> int:
        (value,) = struct.unpack(">i", self._bytes(4))
        return int(value)

    def _bytes(self, count: int) -> bytes:
        piece = self._data[self._at : self._at + count]
        self._at += count
        return piece


def _described(values: list[Any], attributes: Mapping[str, Any]) -> Any:
    """Values with their attributes: a mapping where they have names, labels where they are a factor."""
    if levels := attributes.get("levels"):
        return [levels[value - 1] for value in values]
    if names := attributes.get("names"):
        return dict(zip(names, values, strict=True))
    return values
