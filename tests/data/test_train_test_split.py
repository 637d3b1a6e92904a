from collections import Counter

import numpy as np
import pytest

from fedbbpt.data import TaskData
from fedbbpt.data.texts import as_texts
from fedbbpt.data.train_test_split import drop_duplicates, train_test_split
from fedbbpt.errors import DataError
from fedbbpt.types import Dataset

CLASSES = ("a", "b", "c")


def keys(count, first=0):
    return [f"key-{i}".encode() for i in range(first, first + count)]


def divided(labels, shots=2, of=None, given=None):
    return train_test_split(of or keys(len(labels)), labels, CLASSES[: 1 + max(labels)], shots, "things", given)


def labels_of(rows, labels):
    return Counter(labels[i] for i in rows)


@pytest.mark.parametrize("sizes", [(120, 120), (60, 7, 31), (5, 5), (1000, 10)])
def test_a_fifth_of_each_class_is_for_the_test(sizes):
    labels = [label for label, size in enumerate(sizes) for _ in range(size)]
    sides = divided(labels)
    assert labels_of(sides.test, labels) == {label: max(1, round(size / 5)) for label, size in enumerate(sizes)}
    assert labels_of(sides.provider, labels) == dict.fromkeys(range(len(sizes)), 2)
    assert sorted([*sides.provider, *sides.train, *sides.test]) == list(range(len(labels)))
    assert sides.validation == sides.copies == []


def test_the_order_of_the_examples_changes_nothing():
    labels = [i % 3 for i in range(90)]
    order = np.random.default_rng(0).permutation(90).tolist()
    straight = divided(labels)
    turned = divided([labels[i] for i in order], of=[keys(90)[i] for i in order])
    assert sorted(order[i] for i in turned.test) == sorted(straight.test)


def test_what_shares_a_key_stays_together():
    groups = [f"patient-{i // 6}".encode() for i in range(180)]
    labels = [i % 3 for i in range(180)]
    sides = divided(labels, of=groups)
    shown = [{groups[i] for i in rows} for rows in (sides.provider, sides.train, sides.test)]
    assert sum(map(len, shown)) == len(set(groups))
    assert 0.15 < len(sides.test) / 180 < 0.25


def test_large_groups_leave_something_for_the_test():
    groups = [b"x"] * 10 + [b"y"] * 12 + [b"z"] * 14
    labels = [i % 2 for i in range(36)]
    sides = divided(labels, of=groups, shots=1)
    assert {groups[i] for i in sides.test} == {b"x"}
    assert len({groups[i] for i in sides.train}) == 1


@pytest.mark.parametrize("size", range(1, 5))
def test_too_few_of_a_class_are_counted(size):
    with pytest.raises(
        DataError, match=rf"class 'b' has too few things: its {size}.* fall into {size - 1} for training"
    ):
        divided([0] * 20 + [1] * size)


def test_one_thing_over_and_over_cannot_be_split():
    with pytest.raises(DataError, match=r"its 20 \(in 1 group, since copies and groups stay together\)"):
        divided([0] * 20 + [1] * 20, of=keys(20) + keys(1, 20) * 20)


def test_the_few_of_a_class_are_named():
    with pytest.raises(DataError, match=r"its 2 \(line 3, line 5\) fall into"):
        train_test_split(keys(20), [0, 0, 0, 1, 0, 1, *[0] * 14], ["a", "b"], 4, "things", where="line {}".format)


def test_a_class_that_looks_like_another_is_named():
    with pytest.raises(DataError, match=r"class 'A' has too few.* 'A', 'a' differ, but look alike"):
        train_test_split(keys(21), [0] + [1] * 20, ["A", "a"], 4, "things")


class TestGiven:
    LABELS = [0, 1] * 12
    GIVEN = ["train"] * 12 + ["validation"] * 4 + ["test"] * 8

    def test_sides_are_as_they_are_given(self):
        sides = divided(self.LABELS, given=self.GIVEN)
        assert sorted(sides.provider + sides.train) == list(range(12))
        assert sorted(sides.validation) == list(range(12, 16))
        assert sorted(sides.test) == list(range(16, 24))

    def test_a_test_alone_may_be_given(self):
        given = ["train" if side == "validation" else side for side in self.GIVEN]
        assert divided(self.LABELS, given=given).validation == []

    def test_copies_belong_to_the_first_side(self):
        of = keys(24)
        of[14], of[20], of[22] = of[0], of[2], of[12]  # validation as in training, tests as in the two others
        sides = divided(self.LABELS, of=of, given=self.GIVEN)
        assert sides.copies == [14, 20, 22]
        assert not {of[i] for i in sides.test} & {of[i] for i in sides.train + sides.provider + sides.validation}

    def test_copies_that_are_left_out_are_counted(self):
        labels, given = [0] * 24 + [1] * 24, [*self.GIVEN, *["train"] * 12, *["validation"] * 6, *["test"] * 6]
        of = keys(24) + keys(12, 24) + keys(6, 36) + keys(6, 24)
        with pytest.raises(DataError, match=r"its 18 \(and 6 copies that are on another side, left out\)"):
            divided(labels, of=of, given=given)

    def test_a_class_without_a_test_is_refused(self):
        with pytest.raises(DataError, match="12 for training, 0 for validation and 0 for the test"):
            divided([0] * 24 + [1] * 12, given=self.GIVEN + ["train"] * 12)


def said(*texts):
    return Dataset(as_texts(texts), np.arange(len(texts)) % 2)


NOBODY = said()  # whom the provider's examples show


class TestCopies:
    def test_what_the_provider_shows_is_not_tested(self):
        kept = drop_duplicates(TaskData(said("a", "b"), said("c", "d", "e", "f")), said("C", "x"), CLASSES[:2], [])
        assert list(kept.test.inputs) == ["d", "e", "f"]

    @pytest.mark.parametrize("copy", ["Ä  b", "a\u0308 b", "ä\u00a0b", "ä b\u200b"])
    def test_what_people_take_for_the_same_text_is_a_copy(self, copy):
        kept = drop_duplicates(TaskData(said("ä b", "b"), said(copy, "d", "e", "f")), NOBODY, CLASSES[:2], [])
        assert list(kept.test.inputs) == ["d", "e", "f"]

    def test_what_training_shows_is_not_tested(self):
        remarks = []
        pool = TaskData(said("a", "b", "c", "d"), said("e", "f", "a", "g", "c", "h"))
        assert list(drop_duplicates(pool, NOBODY, CLASSES[:2], remarks).test.inputs) == ["e", "f", "g", "h"]
        assert remarks == ["examples left out of test and validation, since the provider or training has the same: 2"]

    def test_validation_comes_before_the_test(self):
        remarks = []
        pool = TaskData(said("a", "b"), said("c", "d", "x", "y"), said("a", "x", "z", "y"))
        kept = drop_duplicates(pool, NOBODY, CLASSES[:2], remarks)
        assert list(kept.validation.inputs) == ["x", "z", "y"]
        assert list(kept.test.inputs) == ["c", "d"]
        assert "the same: 3" in remarks[0]

    def test_nothing_is_said_of_nothing(self):
        remarks = []
        pool = TaskData(said("a", "b"), said("c", "d", "c"))
        assert drop_duplicates(pool, NOBODY, CLASSES[:2], remarks).test is pool.test
        assert remarks == []

    def test_a_class_that_is_all_copies_is_refused(self):
        with pytest.raises(DataError, match="all test examples of class 'b'"):
            drop_duplicates(TaskData(said("a", "b"), said("c", "b")), NOBODY, CLASSES[:2], [])
