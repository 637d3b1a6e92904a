"""Emoji drawn by three vendors; all vendors' drawings of an emoji share a key."""

import functools
import json
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from fedbbpt.assets.archive import member, members
from fedbbpt_benchmarks.images.example import ImageExample, decode

VENDORS = ("twitter", "google", "fluent")


def emoji(vendor: str) -> Iterator[ImageExample]:
    """One drawing of each base emoji, by category."""
    drawings = _drawings(vendor)
    for stem, entry in _base().items():
        if stem in drawings and entry["category"] != "Component":
            yield ImageExample(f"emoji/{stem}", entry["category"], decode(drawings[stem]), domain=vendor)


def emoji_subgroups(prefix: str) -> Iterator[ImageExample]:
    """All vendors' drawings of the base emoji whose subgroup starts with `prefix`, by subgroup."""
    for vendor in VENDORS:
        drawings = _drawings(vendor)
        for stem, entry in _base().items():
            if stem in drawings and entry["subcategory"].startswith(prefix):
                yield ImageExample(f"emoji/{stem}", entry["subcategory"], decode(drawings[stem]), domain=vendor)


def emoji_tones(vendor: str) -> Iterator[ImageExample]:
    """Emoji in five skin tones (Fitzpatrick 1-2 to 6)."""
    drawings = _drawings(vendor)
    for entry in _table():
        for tone, variant in sorted(entry.get("skin_variations", {}).items()):
            if "-" not in tone and (stem := _stem(variant["image"])) in drawings:
                yield ImageExample(f"emoji/{_stem(entry['image'])}", tone, decode(drawings[stem]), domain=vendor)


@functools.cache
def _table() -> list[dict[str, Any]]:
    table: list[dict[str, Any]] = json.loads(member("emoji-twitter", "package/emoji.json"))
    return table


def _base() -> dict[str, dict[str, Any]]:
    """The table's entry of each base emoji, in the order of code points."""
    return dict(sorted((_stem(entry["image"]), entry) for entry in _table()))


@functools.cache
def _drawings(vendor: str) -> dict[str, bytes]:
    """Encoded drawings by code point, without the variation selector that some vendors leave out."""
    folder = "package/assets/" if vendor == "fluent" else f"package/img/{vendor}/64/"
    return {_stem(PurePosixPath(p).name): data for p, data in members(f"emoji-{vendor}", lambda p: folder in p)}


def _stem(file: str) -> str:
    return "-".join(part for part in file.rpartition(".")[0].split("-") if part != "fe0f")
