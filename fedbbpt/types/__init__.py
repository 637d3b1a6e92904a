"""Types shared by all packages; all are immutable."""

from fedbbpt.types.arrays import Float32, Floats, Inputs, Int64, Parameters, Size, as_queried
from fedbbpt.types.examples import ArrayView, Batch, Client, Dataset, Prompted, Subset
from fedbbpt.types.messages import Message, OutOfDate, Pair, Received, Score, Statistics, Update
from fedbbpt.types.usage import Traffic, Usage

__all__ = [
    "ArrayView",
    "Batch",
    "Client",
    "Dataset",
    "Float32",
    "Floats",
    "Inputs",
    "Int64",
    "Message",
    "OutOfDate",
    "Pair",
    "Parameters",
    "Prompted",
    "Received",
    "Score",
    "Size",
    "Statistics",
    "Subset",
    "Traffic",
    "Update",
    "Usage",
    "as_queried",
]
