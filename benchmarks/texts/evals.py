"""Texts of OpenAI's evals, whose answer is one of two classes."""

import json
from collections.abc import Iterator

from fedbbpt.assets.archive import member
from fedbbpt_benchmarks.texts.example import TextExample, normalise, subsample

SARCASM = {"0": "serious", "1": "sarcastic"}
LIMIT = 5000


def sarcasm() -> Iterator[TextExample]:
    """Headlines, meant or sarcastic (Misra & Arora 2023)."""
    texts = (TextExample(f"sarcasm/{text}", SARCASM[label], text) for text, label in _samples("sarcasm"))
    return subsample(texts, LIMIT)


def crepe() -> Iterator[TextExample]:
    """Does a step of a procedure make an event likelier (Zhang et al. 2023); a procedure's steps share a key."""
    for text, label in _samples("crepe"):
        question = text.partition(" Answer with")[0]
        yield TextExample(f"crepe/{question.partition('.')[0]}", label, question)


def _samples(name: str) -> Iterator[tuple[str, str]]:
    """Yields the last message and the ideal answer of each conversation."""
    for line in member("evals", f"evals/registry/data/{name}/samples.jsonl").decode().splitlines():
        example = json.loads(line)
        yield normalise(example["input"][-1]["content"]), example["ideal"]
