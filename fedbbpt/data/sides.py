"""The split of anybody's data: who sees what."""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Literal, NamedTuple

import numpy as np

from fedbbpt.data import TaskData
from fedbbpt.data.cells import doubts
from fedbbpt.data.texts import as_seen, fingerprint
from fedbbpt.errors import DataError
from fedbbpt.types import Dataset, Int64

NAMED = 2  # examples of a class, which may be all that a slip has made
OF_WHICH_ONE = 5  # examples of a class, of which one is for the test

Side = Literal["train", "validation", "test"]


class Sides(NamedTuple):
    """Row numbers."""

    provider: list[int]
    train: list[int]
    validation: list[int]  # empty where it is drawn from `train`
    test: list[int]
    copies: list[int]  # left out: a side before has the same


def split(
    keys: Sequence[bytes],
    labels: Sequence[int],
    classes: Sequence[str],
    shots: int,
    things: str,
    given: Sequence[Side] | None = None,
    where: Callable[[int], str] = str,
) -> Sides:
    """Row numbers by side: as `given`, else about a fifth of each class for the test, by the hashes of the keys.

    What shares a key stays together: of a given split, copies are left out of the later sides. Of the training side,
    the first `shots` of each class belong to the provider, with all that share a key with them. `things` is what an
    error calls the examples, and `where` tells the place of one.

    Raises:
        DataError: a class has too few on a side.
    """
    side_of = _by_hash(keys, labels, len(classes)) if given is None else _first_given(keys, given)
    here = [given is None or given[i] == side_of[key] for i, key in enumerate(keys)]
    rows: list[list[int]] = [[] for _ in classes]
    for i, label in enumerate(labels):
        if here[i]:
            rows[label].append(i)
    for_train = [[i for i in of_class if side_of[keys[i]] == "train"] for of_class in rows]
    shown = {keys[i] for of_class in for_train for i in of_class[:shots]}
    sides = Sides([], [], [], [], [i for i, kept in enumerate(here) if not kept])
    copies = Counter(classes[labels[i]] for i in sides.copies)
    apart = given is not None and "validation" in given
    for name, of_class, training in zip(classes, rows, for_train, strict=True):
        left = [i for i in training if keys[i] not in shown]
        validation = [i for i in of_class if side_of[keys[i]] == "validation"]
        test = [i for i in of_class if side_of[keys[i]] == "test"]
        if len(left) < (least := 1 if apart else 2) or not test or (apart and not validation):
            parts = [f"{len(training)} for training", *([f"{len(validation)} for validation"] if apart else [])]
            alike = "".join(f"; {doubt}" for doubt in doubts(classes) if repr(name) in doubt)
            named = f" ({', '.join(map(where, of_class))})" if 0 < len(of_class) <= NAMED else ""
            its = f"{len(of_class)}{named}{_copies(keys, of_class, copies[name])}"
            raise DataError(
                f"class {name!r} has too few {things}: its {its} fall into {', '.join(parts)} and "
                f"{len(test)} for the test; needed are {shots} for the provider "
                f"(-o task.provider_shots_per_class), {least} more for training "
                f"and 1 for the test{', and 1 for validation' if apart else ''}{alike}"
            )
        sides.provider.extend(i for i in training if keys[i] in shown)
        sides.train.extend(left)
        sides.validation.extend(validation)
        sides.test.extend(test)
    return sides


def together(keys: Sequence[bytes], rows: Sequence[int]) -> Int64 | None:
    """For each of the rows a number that it shares with those of the same key; None if there are no two such keys."""
    numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    return None if len(numbers) == len(keys) else np.array([numbers[keys[i]] for i in rows], np.int64)


def without_copies(pool: TaskData, provider: Dataset, classes: Sequence[str], remarks: list[str]) -> TaskData:
    """The pool without validation and test examples that show what one of the provider or a side before them shows.

    Keys do not tell all of it: a picture may be kept in two formats, a text be written by two groups. Texts show the
    same if `as_seen` says so.

    Raises:
        DataError: of a class, nothing is left for the test.
    """
    seen = {*_looks(provider), *_looks(pool.train)}
    validation = None if pool.validation is None else _new(pool.validation, seen)
    test = _new(pool.test, seen)
    if gone := [name for label, name in enumerate(classes) if label not in test.labels]:
        raise DataError(
            f"all test examples of class {gone[0]!r} are copies of others that are not for the test; add some"
        )
    before = len(pool.test) + (0 if pool.validation is None else len(pool.validation))
    if left := before - len(test) - (0 if validation is None else len(validation)):
        where = "the provider or training has the same"
        remarks.append(f"examples left out of test and validation, since {where}: {left:,}")
    return replace(pool, validation=validation, test=test)


def _new(data: Dataset, seen: set[bytes]) -> Dataset:
    """The examples that were not seen; from here on they are."""
    digests = _looks(data)
    rows = np.array([i for i, digest in enumerate(digests) if digest not in seen], np.int64)
    seen.update(digests)
    return data if len(rows) == len(data) else data.take(rows)


def _looks(data: Dataset) -> list[bytes]:
    """Equal for examples that show the same."""
    texts = data.inputs.dtype == object
    return [fingerprint(as_seen(one.decode())) if texts else sha256(one).digest() for one in data.contents()]


def _copies(keys: Sequence[bytes], rows: Sequence[int], left_out: int) -> str:
    """What an error says of the copies among the examples of a class."""
    different = len({keys[i] for i in rows})
    said = (
        [f"in {different} group{'s' * (different > 1)}, since copies and groups stay together"]
        if different < len(rows)
        else []
    )
    said += [f"and {left_out} copies that are on another side, left out"] if left_out else []
    return f" ({', '.join(said)})" if said else ""


def _first_given(keys: Sequence[bytes], given: Sequence[Side]) -> dict[bytes, Side]:
    """The first side of each key, in the order in which they are used."""
    order: tuple[Side, ...] = ("test", "validation", "train")
    return {key: side for side in order for key, of in zip(keys, given, strict=True) if of == side}


def _by_hash(keys: Sequence[bytes], labels: Sequence[int], classes: int) -> dict[bytes, Side]:
    """A key after the other, in the order of their hashes, as long as this brings its classes nearer to their fifth."""
    held: dict[bytes, Counter[int]] = defaultdict(Counter)
    for key, label in zip(keys, labels, strict=True):
        held[key][label] += 1
    wanted = {label: max(1, round(count / OF_WHICH_ONE)) for label, count in Counter(labels).items()}
    taken: Counter[int] = Counter()
    side_of: dict[bytes, Side] = dict.fromkeys(held, "train")

    def take(key: bytes) -> None:
        side_of[key] = "test"
        taken.update(held[key])

    order = sorted(held, key=lambda key: sha256(key).digest())
    for key in order:
        if all(taken[label] + count / 2 < wanted[label] for label, count in held[key].items()):
            take(key)
    for label in range(classes):  # large groups: the smallest one is still better than no test
        if not taken[label]:
            take(min((key for key in order if label in held[key]), key=lambda key: held[key].total()))
    return side_of
