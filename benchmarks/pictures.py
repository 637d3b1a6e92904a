"""Readers: from a fetched archive to pictures, each with its class and the key that decides its side of the split."""

import base64
import functools
import io
import json
import re
import unicodedata
import warnings
from collections.abc import Callable, Iterable
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from fedbbpt.assets.archive import member, members
from fedbbpt.data import is_test

GLYPH = 96  # px of a rendered glyph's canvas
LARGEST = 4_000_000  # pixels
THUMBNAIL = 256  # px; no model here looks at more
SCRIPTS = [
    *("Arabic", "Armenian", "Bengali", "Cherokee", "Devanagari", "Ethiopic", "Georgian", "Gujarati", "Gurmukhi"),
    *("Hebrew", "Kannada", "Khmer", "Lao", "Malayalam", "Mongolian", "Myanmar", "Oriya", "Sinhala", "Tamil", "Telugu"),
]


class Picture(NamedTuple):
    """A picture of a data set. Pictures that must not be on both sides of a split share their key."""

    key: str
    label: str
    image: Image.Image

    @property
    def for_test(self) -> bool:
        return is_test(self.key)


def cifar10() -> list[Picture]:
    """The 10,000 test images of CIFAR-10 (Krizhevsky 2009) in the order of their file; see `cifar10_split`."""
    task = "bigbench-1.0.0/bigbench/benchmark_tasks/cifar10_classification/base64/task.json"
    pictures = []
    for i, example in enumerate(json.loads(member("bigbench", task))["examples"]):
        label = max(example["target_scores"], key=example["target_scores"].__getitem__)
        pictures.append(Picture(f"cifar10/{i}", label, _decoded(base64.b64decode(example["input"]))))
    return pictures


def cifar10_split() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices into `cifar10()`: 5,000 that training may see and 5,000 for tests."""
    order = np.random.default_rng(0).permutation(10_000)
    return order[:5000], order[5000:]


def mnist(side: str, count: int) -> list[Picture]:
    """The first `count` digits of the official "train" or "test" file (LeCun et al. 1998)."""
    stem = {"train": "train", "test": "t10k"}[side]
    pixels = np.frombuffer(member("mnist", f"package/data/{stem}-images-idx3-ubyte"), np.uint8, offset=16)
    labels = np.frombuffer(member("mnist", f"package/data/{stem}-labels-idx1-ubyte"), np.uint8, offset=8)
    digits = zip(labels[:count], pixels.reshape(-1, 28, 28), strict=False)
    return [Picture(f"mnist/{side}/{i}", str(label), Image.fromarray(image)) for i, (label, image) in enumerate(digits)]


def emoji(vendor: str) -> list[Picture]:
    """One drawing of each base emoji, by category; the drawings of all vendors share the emoji's key."""
    names = {_stem(entry["image"]): entry for entry in _emoji_table()}
    drawings = _emoji_drawings(vendor)
    return [
        Picture(f"emoji/{stem}", entry["category"], _decoded(drawings[stem]))
        for stem, entry in sorted(names.items())
        if stem in drawings and entry["category"] != "Component"
    ]


def emoji_tones(vendor: str) -> list[Picture]:
    """Emoji in five skin tones (Fitzpatrick 1-2 to 6); all tones of an emoji share its key."""
    drawings = _emoji_drawings(vendor)
    return [
        Picture(f"emoji/{_stem(entry['image'])}", tone, _decoded(drawings[_stem(variant["image"])]))
        for entry in _emoji_table()
        for tone, variant in sorted(entry.get("skin_variations", {}).items())
        if "-" not in tone and _stem(variant["image"]) in drawings
    ]


def clipart() -> list[Picture]:
    """Drawings of openclipart by their folder."""
    return _folders("openclipart", "usr/share/openclipart/png/", lambda p: (f"clip/{p.stem}", p.parts[0]))


def wesnoth_races() -> list[Picture]:
    """Sprites of a game's units by race; all frames of a unit share its key."""
    root = "usr/share/games/wesnoth/1.16/data/core/images/units/"
    return _folders("wesnoth", root, lambda p: (f"wes/{re.split('[-+]', p.stem)[0]}", p.parts[0]))


def wesnoth_terrain() -> list[Picture]:
    """Tiles of a game's landscape by terrain; tiles that differ by a suffix share their key."""
    root = "usr/share/games/wesnoth/1.16/data/core/images/terrain/"
    return _folders("wesnoth", root, lambda p: (f"wes/{p.parts[0]}/{re.split('[-+0-9]', p.stem)[0]}", p.parts[0]))


def faenza() -> list[Picture]:
    """Icons of 96 px by context."""
    root = "usr/share/icons/Faenza/"
    return _folders("faenza", root, lambda p: (f"faenza/{p.stem}", p.parts[0]) if p.parts[1:2] == ("96",) else None)


def textile() -> list[Picture]:
    """Simulated textiles: nominal, or with a local or a global fault."""
    root = "conformal_clip_data/data/textile_images/simulated/"
    return _folders("textile", root, lambda p: (f"textile/{p.parts[0]}/{p.stem}", p.parts[0]))


def scripts() -> list[Picture]:
    """Letters of 20 scripts in regular and bold type; a letter's renderings share its key."""
    pictures = []
    wanted = {f"NotoSans{script}-{style}.ttf": script for script in SCRIPTS for style in ("Regular", "Bold")}
    for path, font in members("noto", lambda p: PurePosixPath(p).name in wanted):
        script = wanted[PurePosixPath(path).name]
        face = ImageFont.truetype(io.BytesIO(font), 52)
        for letter in _letters(script):
            canvas = Image.new("L", (GLYPH, GLYPH), 255)
            ImageDraw.Draw(canvas).text((GLYPH / 2, GLYPH / 2), letter, 0, face, anchor="mm")
            pictures.append(Picture(f"noto/{ord(letter):x}", script, canvas))
    return sorted(pictures, key=lambda picture: picture.key)


def textures() -> list[Picture]:
    """64-px patches of three photographs of brick, grass and gravel; the halves of a photograph are two keys."""
    pictures = []
    for path, contents in members("scikit-image", lambda p: PurePosixPath(p).name in TEXTURES):
        name = PurePosixPath(path).stem
        photograph = _decoded(contents)
        for top in range(0, photograph.height - 63, 32):
            for left in range(0, photograph.width - 63, 32):
                half = "top" if top + 64 <= photograph.height // 2 else "bottom"
                if half == "top" or top >= photograph.height // 2:
                    patch = photograph.crop((left, top, left + 64, top + 64))
                    pictures.append(Picture(f"texture/{half}", name, patch))
    return pictures


TEXTURES = ("brick.png", "grass.png", "gravel.png")
PHOTOGRAPHS = [
    *("astronaut.png", "camera.png", "chelsea.png", "coffee.png", "coins.png", "hubble_deep_field.jpg", "moon.png"),
    *("motorcycle_left.png", "motorcycle_right.png", "rocket.jpg"),
]


def photographs() -> list[Picture]:
    """Large pictures to take crops from: of scikit-image, and those wallpapers whose own licence is CC-BY-SA-4.0."""
    pictures = [
        Picture(f"photo/{PurePosixPath(path).stem}", "", _decoded(contents))
        for path, contents in members("scikit-image", lambda p: PurePosixPath(p).name in PHOTOGRAPHS)
    ]
    free, largest = set(), dict[str, tuple[int, Image.Image]]()
    for path, contents in members("wallpapers", lambda p: "/wallpapers/" in p and "/contents/screenshot" not in p):
        parts = PurePosixPath(path).parts
        title = parts[parts.index("wallpapers") + 1]
        if parts[-1].startswith("metadata") and b"CC-BY-SA-4.0" in contents:
            free.add(title)
        elif parts[-2] == "images":
            image = Image.open(io.BytesIO(contents))
            if len(contents) > largest.get(title, (0, image))[0]:
                largest[title] = len(contents), image
    for title in sorted(free):
        image = largest[title][1].convert("RGB")
        image.thumbnail((1600, 1600))
        pictures.append(Picture(f"photo/{title}", "", image))
    return pictures


def _folders(asset: str, root: str, describe: Callable[[PurePosixPath], tuple[str, str] | None]) -> list[Picture]:
    """Pictures below a folder of an archive; `describe` gives key and class from the path below it."""
    pictures = []
    for path, contents in members(asset, lambda p: root in p and p.endswith((".png", ".jpg"))):
        below = PurePosixPath(path.partition(root)[2])
        if len(below.parts) > 1 and (described := describe(below)) and (image := _thumbnail(contents)):
            pictures.append(Picture(*described, image))
    return pictures


@functools.cache
def _emoji_table() -> list[dict[str, object]]:
    table: list[dict[str, object]] = json.loads(member("emoji-twitter", "package/emoji.json"))
    return table


@functools.cache
def _emoji_drawings(vendor: str) -> dict[str, bytes]:
    """Encoded drawings by code point, without the variation selector that vendors put or leave out."""
    folder = "package/assets/" if vendor == "fluent" else f"package/img/{vendor}/64/"
    return {_stem(PurePosixPath(p).name): data for p, data in members(f"emoji-{vendor}", lambda p: folder in p)}


def _stem(file: str) -> str:
    return "-".join(part for part in file.rpartition(".")[0].split("-") if part != "fe0f")


def _letters(script: str) -> Iterable[str]:
    """Letters of a script by their Unicode names."""
    kinds = tuple(f"{script.upper()} {kind} " for kind in ("LETTER", "SYLLABLE", "CAPITAL LETTER", "SMALL LETTER"))
    return [chr(c) for c in range(0x370, 0x2E80) if unicodedata.name(chr(c), "").startswith(kinds)]


def _thumbnail(contents: bytes) -> Image.Image | None:
    """None of the handful of drawings that are too large to be read in reasonable time."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            image = Image.open(io.BytesIO(contents))
        except Image.DecompressionBombError:
            return None
    if image.width * image.height > LARGEST:
        return None
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    return image


def _decoded(contents: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(contents))
    image.load()
    return image
