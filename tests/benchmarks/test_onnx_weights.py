"""Weights out of ONNX files: matrices regain their names, int8 ones their values."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from fedbbpt_benchmarks.experiments.pretrain import onnx_weights


def _file() -> tuple[bytes, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    plain = rng.standard_normal((3, 4)).astype(np.float32)
    wanted = rng.standard_normal((4, 2)).astype(np.float32)
    scale = (np.abs(wanted).max(0) / 127).astype(np.float32)
    zero = np.array([3, -2], np.int8)
    quantised = np.clip(np.round(wanted / scale) + zero, -128, 127).astype(np.int8)
    stored = {
        "block.bias": np.arange(4, dtype=np.float32),
        "onnx::MatMul_7": plain,
        "onnx::MatMul_9_quantized": quantised,
        "onnx::MatMul_9_scale": scale,
        "onnx::MatMul_9_zero_point": zero,
    }
    nodes = [
        helper.make_node("MatMul", ["x", "onnx::MatMul_7"], ["y"], name="/block/first/MatMul"),
        helper.make_node("MatMul", ["y", "y"], ["z"], name="/block/attention/MatMul"),
        helper.make_node(
            "MatMulInteger",
            ["z", "onnx::MatMul_9_quantized", "", "onnx::MatMul_9_zero_point"],
            ["out"],
            name="/block/second/MatMul_quant",
        ),
    ]
    graph = helper.make_graph(
        nodes,
        "toy",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3])],
        [helper.make_tensor_value_info("out", TensorProto.INT32, [1, 2])],
        [numpy_helper.from_array(array, name) for name, array in stored.items()],
    )
    return helper.make_model(graph).SerializeToString(), plain, wanted


def test_matrices_are_named_after_their_modules() -> None:
    contents, plain, wanted = _file()
    weights = onnx_weights.read(contents)
    assert set(weights) == {"block.bias", "block.first.weight", "block.second.weight"}
    np.testing.assert_array_equal(weights["block.first.weight"].numpy(), plain.T)
    steps = np.abs(wanted).max(0) / 127
    assert (np.abs(weights["block.second.weight"].numpy().T - wanted) <= 1.01 * steps).all()
