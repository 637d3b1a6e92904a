import numpy as np
import pytest
import torch
from torch.nn import functional

from fedbbpt.data.resize import average, bilinear


@pytest.mark.parametrize(("source", "target"), [(12, 9), (7, 7), (8, 3), (70, 52), (3, 5)])
def test_average_shares_every_pixel_out_by_overlap(source, target):
    fine = np.repeat(np.eye(source), target, axis=0)  # every pixel cut into `target` pieces
    expected = fine.reshape(target, source, source).mean(1)
    assert np.allclose(average(source, target), expected, atol=1e-6)


@pytest.mark.parametrize(("source", "target"), [(4, 9), (7, 7), (16, 70), (1, 5)])
def test_bilinear_is_torchs_linear_interpolation(source, target):
    expected = functional.interpolate(torch.eye(source)[None], target, mode="linear", align_corners=False)[0].T
    assert np.allclose(bilinear(source, target), expected, atol=1e-6)


@pytest.mark.parametrize("resize", [average, bilinear])
def test_the_same_size_is_left_exactly_as_it_is(resize):
    assert np.array_equal(resize(13, 13), np.eye(13))
