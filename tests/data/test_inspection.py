import numpy as np

from fedbbpt.data import TaskData
from fedbbpt.data.inspection import ACROSS, MARGIN, NAME, SIDE, contact_sheet, inspect
from fedbbpt.types import Dataset


def plain(levels, labels):
    """Pictures of one grey each."""
    inputs = np.broadcast_to(np.array(levels, np.uint8)[:, None, None, None], (len(levels), 3, 4, 4))
    return Dataset(inputs.copy(), np.array(labels, np.int64))


def test_everything_is_counted():
    pool = TaskData(plain([1, 2, 2, 3], [0, 0, 1, 1]), plain([3, 4, 4, 4, 5], [1, 1, 1, 1, 0]))
    found = inspect(pool, ("a", "b"))
    assert found.classes == [("a", 2, 1), ("b", 2, 4)]
    assert found.repeated == {"train": 1, "test": 2}
    assert found.shared == 1
    assert found.conflicting == 2


def test_the_same_under_two_names_is_counted():
    pool = TaskData(plain([1, 2, 2, 2, 3], [0, 0, 1, 1, 1]), plain([3, 4], [0, 0]))
    assert inspect(pool, ("a", "b")).conflicting == 5


def test_sheet_has_a_row_for_every_class():
    sheet = np.asarray(contact_sheet(plain([10, 20, 30], [0, 1, 1]), ("a", "b")))
    step = SIDE + MARGIN
    assert sheet.shape == (2 * step + MARGIN, NAME + ACROSS * step + MARGIN, 3)
    middle = MARGIN + SIDE // 2
    columns = [NAME + SIDE // 2, NAME + step + SIDE // 2]
    assert sheet[middle, columns, 0].tolist() == [10, 255]
    assert sheet[middle + step, columns, 0].tolist() == [20, 30]
