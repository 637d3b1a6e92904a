"""Readers: from a fetched archive to texts, each with its class and the key that decides its side of the split."""

from fedbbpt_benchmarks.texts.big_bench import (
    fever,
    implicatures,
    intents,
    metaphors,
    multiemo,
    multiemo_languages,
    presuppositions,
    social_support,
    vitaminc,
)
from fedbbpt_benchmarks.texts.documents import GENRES, SUPERSENSES, brown, spam, supersenses
from fedbbpt_benchmarks.texts.tables import (
    crepe,
    election_tweets,
    fine_foods,
    newsgroups,
    rated,
    reuters,
    sarcasm,
)
from fedbbpt_benchmarks.texts.text import Text

__all__ = [
    "GENRES",
    "SUPERSENSES",
    "Text",
    "brown",
    "crepe",
    "election_tweets",
    "fever",
    "fine_foods",
    "implicatures",
    "intents",
    "metaphors",
    "multiemo",
    "multiemo_languages",
    "newsgroups",
    "presuppositions",
    "rated",
    "reuters",
    "sarcasm",
    "social_support",
    "spam",
    "supersenses",
    "vitaminc",
]
