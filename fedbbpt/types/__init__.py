"""What passes between the rooms. All is frozen."""

from fedbbpt.types.arrays import Float32, Floats, Inputs, Int64, Parameters, Size
from fedbbpt.types.examples import Batch, Client, Dataset, Prompted, Rows
from fedbbpt.types.messages import Crossed, Message, Score, Sums, Update, Usage

__all__ = [
    "Batch",
    "Client",
    "Crossed",
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
    "Update",
    "Usage",
]
