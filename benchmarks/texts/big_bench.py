"""Tasks of BIG-bench (Srivastava et al. 2023) whose answer is one of a few classes.

Many examples are variants of each other; those that share a passage, a metaphor or a premise share a key.
"""

import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

from fedbbpt.assets.archive import member, members
from fedbbpt_benchmarks.texts.example import TextExample, normalise, subsample

ROOT = "bigbench-1.0.0/bigbench/benchmark_tasks"
LANGUAGES = ("de", "en", "es", "fr", "it", "ja", "nl", "pl", "pt", "ru", "zh")
LIMIT = 5000

Extract = Callable[
    [str], tuple[str, str]
]  # an example's input -> (what its variants share, the text without its frame)


class Example(NamedTuple):
    """The parts of an example that are used."""

    input: str
    label: str
    number: str  # of the premise, in `presuppositions`


def _task(folder: str, extract: Extract) -> Iterator[TextExample]:
    for example in _examples(member("bigbench", f"{ROOT}/{folder}/task.json")):
        shared, inner = extract(example.input)
        yield TextExample(f"{folder}/{shared}", example.label, normalise(inner))


def _examples(contents: bytes) -> Iterator[Example]:
    for example in json.loads(contents)["examples"]:
        scores, comment = example["target_scores"], example.get("comment", {})
        yield Example(example["input"], max(scores, key=scores.__getitem__), comment.get("example_id", ""))


def _alone(text: str) -> tuple[str, str]:
    return text, text


def _before(mark: str, text: str) -> tuple[str, str]:
    return text.partition(mark)[0], text


def _between(start: str, end: str, text: str) -> tuple[str, str]:
    return _alone(text.partition(start)[2].partition(end)[0])


def vitaminc() -> Iterator[TextExample]:
    """A passage of Wikipedia and a claim (Schuster et al. 2021); texts on one article share a key."""
    return subsample(_task("vitaminc_fact_verification", partial(_before, ":")), LIMIT)


def fever() -> Iterator[TextExample]:
    """A claim without evidence (Thorne et al. 2018)."""
    return _task("fact_checker/fever", partial(_between, "claim was made: ", "\nQ: "))


def intents() -> Iterator[TextExample]:
    """A request to a voice assistant, by intent."""
    return _task("intent_recognition", partial(_between, "Utterance: ", "\0"))


def social_support() -> Iterator[TextExample]:
    """A reply in a forum: supportive or not (Wang & Jurgens 2018)."""
    return _task("social_support", _alone)


def metaphors() -> Iterator[TextExample]:
    """A metaphor and a paraphrase, right or wrong."""
    return _task("metaphor_boolean", partial(_before, " <--> "))


def presuppositions() -> Iterator[TextExample]:
    """Two sentences: does the first entail the second (Jeretic et al. 2020)."""
    for example in _examples(member("bigbench", f"{ROOT}/presuppositions_as_nli/task.json")):
        pair = example.input.partition("\n\nThe answer is:")[0]
        yield TextExample(f"presuppositions/{example.number}", example.label, normalise(pair))


def implicatures() -> Iterator[TextExample]:
    """A question and an indirect answer: yes or no (George & Mamidi 2020)."""
    return _task("implicatures", partial(_before, "Speaker 2:"))


def multiemo(kind: str) -> Iterator[TextExample]:
    """Sentiment of whole reviews in English (Kocoń et al. 2021)."""
    for i, example in enumerate(_examples(member("bigbench", f"{ROOT}/multiemo/{kind}_text_en/task.json"))):
        yield TextExample(f"multiemo/{kind}/{i}", example.label, normalise(example.input))


def multiemo_languages() -> Iterator[TextExample]:
    """Reviews of hotels in eleven languages; a review's translations share a key."""
    files = {f"{ROOT}/multiemo/hotels_text_{language}/task.json": language for language in LANGUAGES}
    found = dict(members("bigbench", files.__contains__))
    texts = (
        TextExample(f"multiemo/hotels/{i}", example.label, normalise(example.input), domain=language)
        for path, language in files.items()
        for i, example in enumerate(_examples(found[path]))
    )
    return subsample(texts, LIMIT)
