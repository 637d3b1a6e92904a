"""The weights of a model that was published as ONNX, under the names of the modules they came from."""

import re

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def read(onnx_file: bytes) -> dict[str, Tensor]:
    """Float32 tensors by name, matrices in torch's layout (out, in).

    Exporters fold and rename the matrices of linear layers, but the node that multiplies keeps its module's path. Int8
    matrices are dequantised: W = (Wq - zero_point) * scale, with one scale a column.
    """
    import onnx
    from onnx import numpy_helper

    graph = onnx.load_from_string(onnx_file).graph
    stored: dict[str, NDArray[np.generic]] = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    named = dict(stored)
    for node in graph.node:
        if node.op_type not in ("MatMul", "MatMulInteger") or node.input[1] not in stored:
            continue
        matrix = named.pop(node.input[1])
        if node.op_type == "MatMulInteger":
            stem = node.input[1].removesuffix("_quantized")
            scale, zero = named.pop(f"{stem}_scale"), named.pop(f"{stem}_zero_point")
            matrix = (matrix.astype(np.float32) - zero.astype(np.float32)) * scale
        module = re.sub(r"/MatMul\w*$", "", node.name).strip("/").replace("/", ".")
        named[f"{module}.weight"] = matrix.T
    return {name: torch.tensor(np.array(array, np.float32)) for name, array in named.items()}
