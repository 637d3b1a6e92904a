"""Drawings, sprites, icons and textiles: archives with one folder per class."""

import re
from collections.abc import Iterator

from fedbbpt_benchmarks.images.example import ImageExample, images_in_folders

WESNOTH = "usr/share/games/wesnoth/1.16/data/core/images"


def clipart() -> Iterator[ImageExample]:
    """Drawings of openclipart; the class is the folder."""
    return images_in_folders("openclipart", "usr/share/openclipart/png/", lambda p: (f"clip/{p.stem}", p.parts[0]))


def wesnoth_races() -> Iterator[ImageExample]:
    """Sprites of a game's units by race; all frames of a unit share a key."""
    return images_in_folders(
        "wesnoth", f"{WESNOTH}/units/", lambda p: (f"wes/{re.split('[-+]', p.stem)[0]}", p.parts[0])
    )


def wesnoth_terrain() -> Iterator[ImageExample]:
    """Tiles of a game's landscape by terrain; tiles that differ in a suffix share a key."""
    return images_in_folders(
        "wesnoth",
        f"{WESNOTH}/terrain/",
        lambda p: (f"wes/{p.parts[0]}/{re.split('[-+0-9]', p.stem)[0]}", p.parts[0]),
    )


def faenza() -> Iterator[ImageExample]:
    """Icons of 96 px by context."""
    root = "usr/share/icons/Faenza/"
    return images_in_folders(
        "faenza", root, lambda p: (f"faenza/{p.stem}", p.parts[0]) if p.parts[1:2] == ("96",) else None
    )


def textile() -> Iterator[ImageExample]:
    """Simulated textiles: nominal, or with a local or a global fault."""
    root = "conformal_clip_data/data/textile_images/simulated/"
    return images_in_folders("textile", root, lambda p: (f"textile/{p.parts[0]}/{p.stem}", p.parts[0]))
