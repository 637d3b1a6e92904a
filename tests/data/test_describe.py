import numpy as np

from fedbbpt.data import TaskData
from fedbbpt.data.describe import COLUMNS, MARGIN, NAME_WIDTH, TILE, contact_sheet, describe
from fedbbpt.types import Dataset


def plain(levels, labels):
    """Pictures of one grey each."""
    inputs = np.broadcast_to(np.array(levels, np.uint8)[:, None, None, None], (len(levels), 3, 4, 4))
    return Dataset(inputs.copy(), np.array(labels, np.int64))


def test_everything_is_counted():
    pool = TaskData(plain([1, 2, 2, 3], [0, 0, 1, 1]), plain([3, 4, 4, 4, 5], [1, 1, 1, 1, 0]))
    found = describe(pool, ("a", "b"))
    assert found.classes == [("a", 2, 1), ("b", 2, 4)]
    assert found.duplicates == {"train": 1, "test": 2}
    assert found.leaked == 1
    assert found.conflicting == 2


def test_the_same_under_two_names_is_counted():
    pool = TaskData(plain([1, 2, 2, 2, 3], [0, 0, 1, 1, 1]), plain([3, 4], [0, 0]))
    assert describe(pool, ("a", "b")).conflicting == 5


def test_sheet_has_a_row_for_every_class():
    sheet = np.asarray(contact_sheet(plain([10, 20, 30], [0, 1, 1]), ("a", "b")))
    step = TILE + MARGIN
    assert sheet.shape == (2 * step + MARGIN, NAME_WIDTH + COLUMNS * step + MARGIN, 3)
    middle = MARGIN + TILE // 2
    columns = [NAME_WIDTH + TILE // 2, NAME_WIDTH + step + TILE // 2]
    assert sheet[middle, columns, 0].tolist() == [10, 255]
    assert sheet[middle + step, columns, 0].tolist() == [20, 30]
