"""What passes between the rooms. All is frozen."""

from fedbbpt.types.arrays import Float32, Floats, Inputs, Int64, Parameters, Size
from fedbbpt.types.examples import Batch, Client, Dataset, Prompted, Rows
from fedbbpt.types.messages import Message, Score, Sums, Traffic, Update, Usage

__all__ = [
    "Batch",
    "Client",
    "Dataset",
    "Float32",
    "Floats",
    "Inputs",
    "Int64",
    "Message",
    "Parameters",
    "Prompted",
    "Rows",
    "Score",
    "Size",
    "Sums",
    "Traffic",
    "Update",
    "Usage",
]
