"""Readers of image data sets: each yields `ImageExample`s, with a class and the key that decides the split."""

from fedbbpt_benchmarks.images.cifar import cifar10, cifar10_split
from fedbbpt_benchmarks.images.digits import biased_mnist, loc_mnist, mnist, mnist_5k
from fedbbpt_benchmarks.images.drawings import clipart, faenza, textile, wesnoth_races, wesnoth_terrain
from fedbbpt_benchmarks.images.emojis import emoji, emoji_subgroups, emoji_tones
from fedbbpt_benchmarks.images.example import ImageExample
from fedbbpt_benchmarks.images.glyphs import SCRIPTS, letters, scripts, serifs
from fedbbpt_benchmarks.images.photographs import large_photographs, sample_photos, textures
from fedbbpt_benchmarks.images.synthetic import pillow_letters, shapes, stripes

__all__ = [
    "SCRIPTS",
    "ImageExample",
    "biased_mnist",
    "cifar10",
    "cifar10_split",
    "clipart",
    "emoji",
    "emoji_subgroups",
    "emoji_tones",
    "faenza",
    "large_photographs",
    "letters",
    "loc_mnist",
    "mnist",
    "mnist_5k",
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
