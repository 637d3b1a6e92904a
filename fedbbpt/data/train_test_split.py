"""Splits a user's own data into the provider's, training, validation and test examples."""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import NamedTuple

import numpy as np

from fedbbpt.data import Subset, TaskData
from fedbbpt.data.cells import doubts
from fedbbpt.data.texts import as_seen, fingerprint
from fedbbpt.errors import DataError
from fedbbpt.types import Dataset, Int64

TEST_FRACTION = 1 / 5  # of each class
MAX_NAMED = 2  # an error names the examples of a class that has no more than these: they may all be slips


class SplitIndices(NamedTuple):
    """Indices of examples."""

    provider: list[int]
    train: list[int]
    validation: list[int]  # empty if it is drawn from `train`
    test: list[int]
    copies: list[int]  # left out: an earlier subset holds the same


def train_test_split(
    keys: Sequence[bytes],
    labels: Sequence[int],
    classes: Sequence[str],
    provider_shots_per_class: int,
    noun: str,
    given: Sequence[Subset] | None = None,
    where: Callable[[int], str] = str,
) -> SplitIndices:
    """Splits examples as `given`, else puts about a fifth of each class into the test subset by the keys' hashes.

    Examples that share a key stay together; of a given split, copies are left out of the later subset. The first
    `provider_shots_per_class` training examples of each class belong to the provider, and all that share a key with
    them. Which keys are for the test does not depend on the order of the examples.

    Args:
        keys: one for each example (N,); equal for copies and for members of a group.
        labels: each example's index into `classes` (N,).
        noun: what an error calls the examples, say "images".
        given: each example's subset (N,).
        where: the place of an example, for errors.

    >>> keys = [f"user-{i // 2}".encode() for i in range(40)]  # two examples each
    >>> split = train_test_split(keys, [i % 2 for i in range(40)], ("bad", "good"), 1, "texts")
    >>> [len(indices) for indices in split]
    [2, 30, 0, 8, 0]
    >>> {keys[i] for i in split.test} & {keys[i] for i in split.train}
    set()

    Raises:
        DataError: a subset holds too few examples of a class.
    """
    subset_of = _by_hash(keys, labels, len(classes)) if given is None else _first_given(keys, given)
    used = [given is None or given[i] == subset_of[key] for i, key in enumerate(keys)]
    by_class: list[list[int]] = [[] for _ in classes]
    for i, label in enumerate(labels):
        if used[i]:
            by_class[label].append(i)
    for_train = [[i for i in of_class if subset_of[keys[i]] == "train"] for of_class in by_class]
    provided = {keys[i] for of_class in for_train for i in of_class[:provider_shots_per_class]}
    split = SplitIndices([], [], [], [], [i for i, kept in enumerate(used) if not kept])
    copies = Counter(classes[labels[i]] for i in split.copies)
    validated = given is not None and "validation" in given
    for name, of_class, training in zip(classes, by_class, for_train, strict=True):
        left = [i for i in training if keys[i] not in provided]
        validation = [i for i in of_class if subset_of[keys[i]] == "validation"]
        test = [i for i in of_class if subset_of[keys[i]] == "test"]
        if len(left) < (needed := 1 if validated else 2) or not test or (validated and not validation):
            parts = [f"{len(training)} for training", *([f"{len(validation)} for validation"] if validated else [])]
            alike = "".join(f"; {doubt}" for doubt in doubts(classes) if repr(name) in doubt)
            named = f" ({', '.join(map(where, of_class))})" if 0 < len(of_class) <= MAX_NAMED else ""
            its = f"{len(of_class)}{named}{_copies(keys, of_class, copies[name])}"
            provided_first = f"{provider_shots_per_class} for the provider (-o task.provider_shots_per_class), "
            needs = f"{provided_first}{needed} more" if provider_shots_per_class else f"{needed}"
            raise DataError(
                f"class {name!r} has too few {noun}: its {its} fall into {', '.join(parts)} and {len(test)} for the "
                f"test; needed are {needs} for training and 1 for the test"
                f"{', and 1 for validation' if validated else ''}{alike}"
            )
        split.provider.extend(i for i in training if keys[i] in provided)
        split.train.extend(left)
        split.validation.extend(validation)
        split.test.extend(test)
    return split


def group_ids(keys: Sequence[bytes], indices: Sequence[int]) -> Int64 | None:
    """A number for each of these examples that it shares with those of the same key; None if all keys differ."""
    numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    return None if len(numbers) == len(keys) else np.array([numbers[keys[i]] for i in indices], np.int64)


def drop_duplicates(data: TaskData, provider: Dataset | None, classes: Sequence[str], remarks: list[str]) -> TaskData:
    """Leaves out validation and test examples that look like one of the provider's or of an earlier subset.

    Keys do not find all of these: an image may be stored in two formats, two groups may write the same text. Texts look
    alike if `as_seen` makes them equal.

    Raises:
        DataError: no test example of a class is left.
    """
    seen = {*(_looks(provider) if provider else ()), *_looks(data.train)}
    validation = None if data.validation is None else _unseen(data.validation, seen)
    test = _unseen(data.test, seen)
    if gone := [name for label, name in enumerate(classes) if label not in test.labels]:
        raise DataError(
            f"all test examples of class {gone[0]!r} are copies of others that are not for the test; add some"
        )
    before = len(data.test) + (0 if data.validation is None else len(data.validation))
    if left := before - len(test) - (0 if validation is None else len(validation)):
        where = "the provider or training has the same"
        remarks.append(f"examples left out of test and validation, since {where}: {left:,}")
    return replace(data, validation=validation, test=test)


def _unseen(data: Dataset, seen: set[bytes]) -> Dataset:
    """The examples that are not in `seen`; adds them to it."""
    digests = _looks(data)
    rows = np.array([i for i, digest in enumerate(digests) if digest not in seen], np.int64)
    seen.update(digests)
    return data if len(rows) == len(data) else data.take(rows)


def _looks(data: Dataset) -> list[bytes]:
    """A digest of each example, equal for those that look alike."""
    texts = data.inputs.dtype == object
    return [fingerprint(as_seen(one.decode())) if texts else sha256(one).digest() for one in data.contents()]


def _copies(keys: Sequence[bytes], indices: Sequence[int], left_out: int) -> str:
    """What an error says about copies among the examples of a class."""
    different = len({keys[i] for i in indices})
    said = (
        [f"in {different} group{'s' * (different > 1)}, since copies and groups stay together"]
        if different < len(indices)
        else []
    )
    said += [f"and {left_out} copies that are on another side, left out"] if left_out else []
    return f" ({', '.join(said)})" if said else ""


def _first_given(keys: Sequence[bytes], given: Sequence[Subset]) -> dict[bytes, Subset]:
    """Each key's subset: the first that it is given, of train, validation and test in this order."""
    last_to_first: tuple[Subset, ...] = ("test", "validation", "train")
    return {key: subset for subset in last_to_first for key, of in zip(keys, given, strict=True) if of == subset}


def _by_hash(keys: Sequence[bytes], labels: Sequence[int], classes: int) -> dict[bytes, Subset]:
    """Takes keys for the test in the order of their hashes, while this brings their classes nearer to the fraction."""
    held: dict[bytes, Counter[int]] = defaultdict(Counter)
    for key, label in zip(keys, labels, strict=True):
        held[key][label] += 1
    wanted = {label: max(1, round(count * TEST_FRACTION)) for label, count in Counter(labels).items()}
    taken: Counter[int] = Counter()
    subset_of: dict[bytes, Subset] = dict.fromkeys(held, "train")

    def take(key: bytes) -> None:
        subset_of[key] = "test"
        taken.update(held[key])

    order = sorted(held, key=lambda key: sha256(key).digest())
    for key in order:
        if all(taken[label] + count / 2 < wanted[label] for label, count in held[key].items()):
            take(key)
    for label in range(classes):  # of large groups, the smallest is still better than no test example
        if not taken[label]:
            take(min((key for key in order if label in held[key]), key=lambda key: held[key].total()))
    return subset_of
