"""Letters rendered from the Noto fonts."""

import io
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from PIL import Image, ImageDraw, ImageFont

from fedbbpt.assets.archive import members
from fedbbpt_benchmarks.images.example import ImageExample

SIDE = 96  # px of a glyph's canvas
POINTS = 52  # size of the type
SCRIPTS = [
    *("Arabic", "Armenian", "Bengali", "Cherokee", "Devanagari", "Ethiopic", "Georgian", "Gujarati", "Gurmukhi"),
    *("Hebrew", "Kannada", "Khmer", "Lao", "Malayalam", "Mongolian", "Myanmar", "Oriya", "Sinhala", "Tamil", "Telugu"),
]
WITH_SERIF = [  # scripts with a serif type
    *("Armenian", "Bengali", "Devanagari", "Ethiopic", "Georgian", "Gujarati", "Gurmukhi", "Hebrew"),
    *("Kannada", "Khmer", "Lao", "Malayalam", "Myanmar", "Sinhala", "Tamil", "Telugu"),
]
LATIN = ("Sans", "SansDisplay", "Serif", "SerifDisplay")
STYLES = ("Regular", "Italic", "Bold", "BoldItalic")


def scripts() -> Iterator[ImageExample]:
    """Letters of 20 scripts in regular and bold type; a letter's renderings share a key."""
    wanted = {f"NotoSans{script}-{style}.ttf": script for script in SCRIPTS for style in ("Regular", "Bold")}
    found = []
    for name, font in _fonts(wanted):
        for letter in _letters(wanted[name]):
            found.append(ImageExample(f"noto/{ord(letter):x}", wanted[name], _rendered(letter, font)))
    return iter(sorted(found, key=lambda example: example.key))


def letters() -> Iterator[ImageExample]:
    """A to J, large and small, in Latin Noto fonts and the styles of mathematics; a style's letters share a key."""
    for name, font in _fonts([f"Noto{family}-{style}.ttf" for family in LATIN for style in STYLES]):
        for letter in "ABCDEFGHIJabcdefghij":
            yield ImageExample(f"letters/{name}", letter.upper(), _rendered(letter, font))
    for _, font in _fonts(["NotoSansMath-Regular.ttf"]):
        missing = _rendered("\U0010ffff", font)
        for letter in map(chr, range(0x1D400, 0x1D6A4)):  # Mathematical Alphanumeric Symbols, the Latin ones
            plain, glyph = unicodedata.normalize("NFKC", letter).upper(), _rendered(letter, font)
            if plain in "ABCDEFGHIJ" and unicodedata.name(letter, "") and glyph != missing:
                style = unicodedata.name(letter).replace(" CAPITAL ", " SMALL ").partition(" SMALL ")[0]
                yield ImageExample(f"letters/{style}", plain, glyph)


def serifs() -> Iterator[ImageExample]:
    """Letters of 16 scripts in type with and without serifs, regular and bold; a letter's renderings share a key."""
    wanted = {
        f"Noto{kind}{script}-{style}.ttf": (kind.lower(), script)
        for kind in ("Sans", "Serif")
        for script in WITH_SERIF
        for style in ("Regular", "Bold")
    }
    for name, font in _fonts(wanted):
        kind, script = wanted[name]
        for letter in _letters(script):
            yield ImageExample(f"noto/{ord(letter):x}", kind, _rendered(letter, font), domain=script)


def _fonts(names: Iterable[str]) -> Iterator[tuple[str, ImageFont.FreeTypeFont]]:
    for path, font in members("noto", lambda p: PurePosixPath(p).name in names):
        yield PurePosixPath(path).name, ImageFont.truetype(io.BytesIO(font), POINTS)


def _rendered(letter: str, font: ImageFont.FreeTypeFont) -> Image.Image:
    canvas = Image.new("L", (SIDE, SIDE), 255)
    ImageDraw.Draw(canvas).text((SIDE / 2, SIDE / 2), letter, 0, font, anchor="mm")
    return canvas


def _letters(script: str) -> Iterable[str]:
    """The letters of a script, found by their Unicode names."""
    kinds = tuple(f"{script.upper()} {kind} " for kind in ("LETTER", "SYLLABLE", "CAPITAL LETTER", "SMALL LETTER"))
    return [chr(c) for c in range(0x370, 0x2E80) if unicodedata.name(chr(c), "").startswith(kinds)]
