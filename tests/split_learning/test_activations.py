import numpy as np
import pytest

from fedbbpt.split_learning.activations import pack, unpack


@pytest.mark.parametrize(("dtype", "error"), [("float32", 0), ("bfloat16", 2**-8), ("int8", 1 / 254)])
def test_values_come_back_as_exact_as_the_format_says(dtype, error):
    values = np.random.default_rng(0).normal(size=(3, 5, 64)).astype(np.float32)
    values[0, 0] = 0
    back = unpack(pack(values, dtype))
    assert back.dtype == np.float32
    largest = np.abs(values) if dtype == "bfloat16" else np.abs(values).max(-1, keepdims=True)
    assert (np.abs(back - values) <= error * largest * (1 + 1e-6)).all()
    assert len(pack(values, dtype)) < {"float32": 4, "bfloat16": 2, "int8": 1.1}[dtype] * values.size + 200


def test_bfloat16_is_rounded_to_even_and_nan_stays():
    values = np.array([[[1 + 2**-8, 1 + 3 * 2**-8, np.inf, np.nan, -2.5]]], np.float32)
    assert unpack(pack(values, "bfloat16"))[0, 0].tolist()[:3] == [1.0, 1 + 2**-6, np.inf]
    assert np.isnan(unpack(pack(values, "bfloat16"))[0, 0, 3])
    assert unpack(pack(values, "bfloat16"))[0, 0, 4] == -2.5
