"""Before anything is built: the words of a prompt that chooses among those of the clients' training texts."""

import json
from collections.abc import Sequence

from fedbbpt.config import Config
from fedbbpt.config.components import learns_vocabulary
from fedbbpt.data.ngrams import NgramCounts, build_vocabulary, count_ngrams
from fedbbpt.errors import DataError
from fedbbpt.types import Client


def with_vocabulary(config: Config, clients: Sequence[Client]) -> Config:
    """The config with the words that the prompt learns from the clients, where it does and was given none.

    Raises:
        DataError: no client holds two words twice.
    """
    options = config.prompt.options
    if not learns_vocabulary(config.prompt.name) or options["vocabulary"]:
        return config
    learned = build_vocabulary(_client_counts(clients), options["vocabulary_size"])
    if len(learned) < 2:
        raise DataError(
            "the clients' training texts are too few to learn words from: none holds two words at least twice; use "
            """more --shots-per-class or fewer --clients, or name the words: -o 'prompt.vocabulary=["good", "bad"]'"""
        )
    prompt = config.prompt.model_copy(update={"options": options | {"vocabulary": learned}})
    return config.model_copy(update={"prompt": prompt})


def vocabulary_bytes(config: Config, clients: Sequence[Client]) -> tuple[int, int]:
    """Bytes up and down that the prompt's words took: the clients' counts, and the words for each of them.

    Nothing where the words are the user's own: others than those that the counts lead to.
    """
    if not learns_vocabulary(config.prompt.name):
        return 0, 0
    counts, words = _client_counts(clients), config.prompt.options["vocabulary"]
    if words != build_vocabulary(counts, config.prompt.options["vocabulary_size"]):
        return 0, 0
    down = json.dumps(words, ensure_ascii=False, separators=(",", ":")).encode()
    return sum(len(client.to_bytes()) for client in counts), len(down) * len(clients)


def _client_counts(clients: Sequence[Client]) -> list[NgramCounts]:
    return [count_ngrams(client.train.inputs[:]) for client in clients]
