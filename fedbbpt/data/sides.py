"""The split of anybody's data, which have no official one: who sees what."""

from collections.abc import Sequence
from typing import NamedTuple

from fedbbpt.errors import DataError


class Sides(NamedTuple):
    """Row numbers."""

    provider: list[int]
    train: list[int]
    test: list[int]


def split(
    keys: Sequence[bytes],
    tested: Sequence[bool],
    labels: Sequence[int],
    classes: Sequence[str],
    shots: int,
    things: str,
) -> Sides:
    """Row numbers by side; `tested` is a function of the key (see `is_test`), so that what shares one stays together.

    Of the training side, the first `shots` of each class belong to the provider, with all that share a key with them.
    `things` is what an error calls the examples.

    Raises:
        DataError: a class has too few on a side.
    """
    rows: list[list[int]] = [[] for _ in classes]
    for i, label in enumerate(labels):
        rows[label].append(i)
    shown = {keys[i] for of_class in rows for i in [i for i in of_class if not tested[i]][:shots]}
    sides = Sides([], [], [])
    for name, of_class in zip(classes, rows, strict=True):
        for_train = [i for i in of_class if not tested[i]]
        left = [i for i in for_train if keys[i] not in shown]
        for_test = [i for i in of_class if tested[i]]
        if len(left) < 2 or not for_test:
            raise DataError(
                f"class {name!r} has too few {things}: its {len(of_class)} fall into {len(for_train)} for training "
                f"and {len(for_test)} for the test; {shots} for the provider (task.provider_shots) "
                "and at least 2 + 1 for the clients are needed"
            )
        sides.provider.extend(i for i in for_train if keys[i] in shown)
        sides.train.extend(left)
        sides.test.extend(for_test)
    return sides
