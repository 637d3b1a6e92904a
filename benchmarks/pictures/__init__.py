"""Readers: from a fetched archive to pictures, each with its class and the key that decides its side of the split."""

from fedbbpt_benchmarks.pictures.cifar import cifar10, cifar10_split
from fedbbpt_benchmarks.pictures.digits import biased, both_sides, located, mnist
from fedbbpt_benchmarks.pictures.drawings import clipart, faenza, textile, wesnoth_races, wesnoth_terrain
from fedbbpt_benchmarks.pictures.emojis import emoji, emoji_subgroups, emoji_tones
from fedbbpt_benchmarks.pictures.glyphs import SCRIPTS, letters, scripts, serifs
from fedbbpt_benchmarks.pictures.made import pillow_letters, sample_photos, shapes, stripes
from fedbbpt_benchmarks.pictures.photos import photographs, textures
from fedbbpt_benchmarks.pictures.picture import Picture

__all__ = [
    "SCRIPTS",
    "Picture",
    "biased",
    "both_sides",
    "cifar10",
    "cifar10_split",
    "clipart",
    "emoji",
    "emoji_subgroups",
    "emoji_tones",
    "faenza",
    "letters",
    "located",
    "mnist",
    "photographs",
    "pillow_letters",
    "sample_photos",
    "scripts",
    "serifs",
    "shapes",
    "stripes",
    "textile",
    "textures",
    "wesnoth_races",
    "wesnoth_terrain",
]
