"""Before anything is built: the words of a prompt that chooses among those of the clients' training texts."""

import json
from collections.abc import Sequence

from fedbbpt.config import Config
from fedbbpt.config.components import learns_vocabulary
from fedbbpt.data.ngrams import NgramCounts, build_vocabulary, count_ngrams
from fedbbpt.errors import DataError
from fedbbpt.types import Client, Traffic


def needs_vocabulary(config: Config) -> bool:
    """Whether the prompt learns its words from the clients, and was given none."""
    return learns_vocabulary(config.prompt.name) and not config.prompt.options["vocabulary"]


def with_vocabulary(config: Config, clients: Sequence[Client]) -> Config:
    """The config with the words that the prompt learns from the clients, where it needs some.

    Raises:
        DataError: no client holds two words twice.
    """
    return with_words_of(_client_counts(clients), config) if needs_vocabulary(config) else config


def with_words_of(counts: Sequence[NgramCounts], config: Config) -> Config:
    """The config with the words that these counts, one from each client, lead to.

    Raises:
        DataError: no client holds two words twice.
    """
    options = config.prompt.options
    learned = build_vocabulary(counts, options["vocabulary_size"])
    if len(learned) < 2:
        raise DataError(
            "the clients' training texts are too few to learn words from: none holds two words at least twice; use "
            """more --shots-per-class or fewer --clients, or name the words: -o 'prompt.vocabulary=["good", "bad"]'"""
        )
    prompt = config.prompt.model_copy(update={"options": options | {"vocabulary": learned}})
    return config.model_copy(update={"prompt": prompt})


def vocabulary_traffic(config: Config, clients: Sequence[Client]) -> Traffic:
    """Bytes that the prompt's words took: up the clients' counts, down the words for each of them.

    Nothing where the words are the user's own: others than those that the counts lead to.
    """
    if not learns_vocabulary(config.prompt.name):
        return Traffic()
    counts, words = _client_counts(clients), config.prompt.options["vocabulary"]
    if words != build_vocabulary(counts, config.prompt.options["vocabulary_size"]):
        return Traffic()
    return traffic_of(counts, words)


def traffic_of(counts: Sequence[NgramCounts], words: Sequence[str]) -> Traffic:
    """The bytes of these counts, one from each client, and of the words that each client gets."""
    down = json.dumps(words, ensure_ascii=False, separators=(",", ":")).encode()
    return Traffic(sum(len(client.to_bytes()) for client in counts), len(down) * len(counts))


def _client_counts(clients: Sequence[Client]) -> list[NgramCounts]:
    return [count_ngrams(client.train.inputs[:]) for client in clients]
