"""Readers, on a few digits and emoji of ours instead of the archives."""

import io
import json
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image, ImageFont

from fedbbpt_benchmarks import images
from fedbbpt_benchmarks.images import digits, emojis, glyphs, photographs


@pytest.fixture
def some_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    """400 digits a file, each a square of ink whose brightness is 20 + its number."""

    def member(asset: str, path: str) -> bytes:
        labels = (np.arange(400) % 10).astype(np.uint8)
        if "labels" in path:
            return bytes(8) + labels.tobytes()
        drawings = np.zeros((400, 28, 28), np.uint8)
        drawings[:, 10:18, 10:18] = 20 + (np.arange(400) % 200)[:, None, None]
        return bytes(16) + drawings.tobytes()

    monkeypatch.setattr(digits, "member", member)


@pytest.mark.usefixtures("some_digits")
class TestDigits:
    def test_both_official_files(self) -> None:
        sides = Counter(picture.for_test for picture in images.mnist_5k())
        assert sides == {False: 400, True: 200}

    @pytest.mark.parametrize("correlation", [0.8, 0.9])
    def test_background_tells_the_digit_in_training_and_misleads_in_the_test(self, correlation: float) -> None:
        telling: dict[bool, list[bool]] = {False: [], True: []}
        for picture in images.biased_mnist(correlation):
            pixels = np.asarray(picture.image)
            assert (pixels[10:18, 10:18] == 255).all()
            telling[picture.for_test].append(tuple(pixels[0, 0]) == digits.COLOURS[int(picture.label)])
        assert np.mean(telling[False]) == pytest.approx(correlation, abs=0.06)
        assert np.mean(telling[True]) == pytest.approx(1 - correlation, abs=0.09)

    @pytest.mark.parametrize("distractor", [1, 4])
    def test_the_digit_is_at_the_edge_and_another_in_the_centre(self, distractor: int) -> None:
        originals = list(images.mnist_5k())
        moved = list(images.loc_mnist(distractor))
        for original, picture in zip(originals[:50], moved[:50], strict=True):
            assert (original.key, original.label) == (picture.key, picture.label)
            ink = np.asarray(picture.image)
            assert ink.shape == (224, 224)
            edge = ink.copy()
            edge[40:184, 40:184] = 0
            rows, columns = np.nonzero(edge)
            assert np.ptp(rows) == np.ptp(columns) == 7
            assert edge[rows[0], columns[0]] == np.asarray(original.image)[12, 12]
            at_edge = {rows.min() - 10, columns.min() - 10, 213 - rows.max(), 213 - columns.max()}
            assert 0 in at_edge
            assert (ink[108:116, 108:116] > 0).any()


TABLE = [
    {"image": "1f600.png", "category": "Smileys & Emotion", "subcategory": "face-smiling"},
    {
        "image": "1f44b.png",
        "category": "People & Body",
        "subcategory": "hand",
        "skin_variations": {
            "1F3FB": {"image": "1f44b-1f3fb.png"},
            "1F3FB-1F3FC": {"image": "1f44b-1f3fb-1f3fc.png"},
        },
    },
    {"image": "2764-fe0f.png", "category": "Symbols", "subcategory": "heart"},
    {"image": "1f3fb.png", "category": "Component", "subcategory": "skin-tone"},
]


@pytest.fixture
def some_emoji(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    file = io.BytesIO()
    Image.new("RGBA", (8, 8), "red").save(file, "png")

    def members(asset: str, wanted: object) -> Iterator[tuple[str, bytes]]:
        vendor = asset.removeprefix("emoji-")
        folder = "package/assets" if vendor == "fluent" else f"package/img/{vendor}/64"
        names = ["1f600", "1f44b", "1f44b-1f3fb", "1f44b-1f3fb-1f3fc", "2764-fe0f", "1f3fb"]
        yield from (
            (f"{folder}/{name}.png", file.getvalue()) for name in names if vendor != "fluent" or name != "1f44b"
        )

    monkeypatch.setattr(emojis, "members", members)
    monkeypatch.setattr(emojis, "member", lambda asset, path: json.dumps(TABLE).encode())
    for cached in (emojis._table, emojis._drawings):
        cached.cache_clear()
    yield
    for cached in (emojis._table, emojis._drawings):
        cached.cache_clear()


@pytest.mark.usefixtures("some_emoji")
class TestEmoji:
    def test_categories_without_components(self) -> None:
        labels = {picture.key: picture.label for picture in images.emoji("twitter")}
        assert labels == {"emoji/1f600": "Smileys & Emotion", "emoji/1f44b": "People & Body", "emoji/2764": "Symbols"}

    def test_what_a_vendor_did_not_draw_is_left_out(self) -> None:
        assert {picture.key for picture in images.emoji("fluent")} == {"emoji/1f600", "emoji/2764"}

    def test_subgroups_come_from_all_vendors_under_one_key(self) -> None:
        faces = list(images.emoji_subgroups("face-"))
        assert {picture.key for picture in faces} == {"emoji/1f600"}
        assert [picture.domain for picture in faces] == ["twitter", "google", "fluent"]

    def test_tones_are_those_of_one_person(self) -> None:
        assert [(p.key, p.label) for p in images.emoji_tones("twitter")] == [("emoji/1f44b", "1F3FB")]


@pytest.fixture
def one_font(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every font is Pillow's own."""
    font = ImageFont.load_default(glyphs.POINTS)
    monkeypatch.setattr(glyphs, "_fonts", lambda names: ((name, font) for name in names))


@pytest.mark.usefixtures("one_font")
class TestGlyphs:
    def test_letters_of_a_style_share_its_key(self) -> None:
        read = [p for p in images.letters() if p.key == "letters/NotoSans-Bold.ttf"]
        assert {p.label for p in read} == set("ABCDEFGHIJ")
        assert len(read) == 20

    def test_styles_that_the_font_lacks_are_left_out(self) -> None:
        assert not [p for p in images.letters() if "MATHEMATICAL" in p.key]  # Pillow's own has none of these

    def test_a_letter_is_on_one_side_with_and_without_serifs(self) -> None:
        kinds: dict[str, set[str]] = {}
        for picture in images.serifs():
            kinds.setdefault(picture.key, set()).add(picture.label)
        assert kinds
        assert all(kind == {"sans", "serif"} for kind in kinds.values())

    def test_scripts_are_told_by_the_font(self) -> None:
        assert {p.label for p in images.scripts()} == set(images.SCRIPTS)


def test_patches_of_the_two_halves_do_not_overlap(monkeypatch: pytest.MonkeyPatch) -> None:
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 200, 1)
    file = io.BytesIO()
    Image.fromarray(ramp).save(file, "png")
    monkeypatch.setattr(photographs, "members", lambda asset, wanted: [("data/brick.png", file.getvalue())])
    rows = {side: set[int]() for side in (False, True)}
    for picture in images.textures():
        rows[picture.for_test] |= set(np.asarray(picture.image)[:, 0].tolist())
    assert max(rows[True]) < 128 <= min(rows[False])
