"""Readers of text data sets: each yields `TextExample`s, with a class and the key that decides the split."""

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
from fedbbpt_benchmarks.texts.evals import crepe, sarcasm
from fedbbpt_benchmarks.texts.example import TextExample
from fedbbpt_benchmarks.texts.tables import election_tweets, fine_foods, newsgroups, rated_snippets, reuters

__all__ = [
    "GENRES",
    "SUPERSENSES",
    "TextExample",
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
    "rated_snippets",
    "reuters",
    "sarcasm",
    "social_support",
    "spam",
    "supersenses",
    "vitaminc",
]
