import numpy as np

from fedbbpt.algorithms.aggregation import weighted_mean


def test_parts_are_averaged_by_weight():
    one = {"prompt": np.array([0, 4], np.float32), "readout": np.array([8], np.float32)}
    other = {"prompt": np.array([4, 0], np.float32), "readout": np.array([0], np.float32)}
    mean = weighted_mean([one, other], [1, 3])
    assert {part: vector.tolist() for part, vector in mean.items()} == {"prompt": [3, 1], "readout": [2]}


def test_summed_in_double_precision():
    tiny = [{"p": np.array([v], np.float32)} for v in (1e8, 1, -1e8)]
    mean = weighted_mean(tiny, [1, 1, 1])["p"]
    assert mean.dtype == np.float64
    assert np.isclose(mean[0], 1 / 3, atol=1e-6)


def test_empty_parts_stay_empty():
    assert weighted_mean([{"readout": np.zeros(0, np.float32)}], [5])["readout"].shape == (0,)


def test_changes_stay_as_they_are():
    changes = [{"p": np.ones(3, np.float32)}, {"p": np.zeros(3, np.float32)}]
    weighted_mean(changes, [1, 1])
    assert changes[0]["p"].tolist() == [1, 1, 1]
    assert changes[1]["p"].tolist() == [0, 0, 0]
