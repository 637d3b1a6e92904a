"""A callback of your own: writes the validation accuracy of each round into a CSV file.

Follows a small run, and prints the file: python own_callback.py. In a package, register the class in setup.cfg, in the
group fedbbpt.callbacks, as `csv-file = own_callback:CsvFile`; then `fedbbpt train --callback csv-file:PATH` finds it.
"""

import csv
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedbbpt.config import make_config
from fedbbpt.run.callback import Callback
from fedbbpt.run.train import train

COLUMNS = ("round", "queries", "accuracy")


class CsvFile(Callback):
    """Writes the rounds into a CSV file: `csv-file:PATH`. A resumed run adds to it."""

    def __init__(self, target: str, /) -> None:
        self._path = Path(target)

    def on_round(self, row: Mapping[str, Any]) -> None:
        """See `Callback`; the test row comes last, and is none of the rounds."""
        if row["subset"] != "validation":
            return
        is_new = not self._path.exists()
        with self._path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore")
            if is_new:
                writer.writeheader()
            writer.writerow(row)


if __name__ == "__main__":
    data = {"clients": 3, "shots_per_class": 4, "test_limit": 50}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "rounds.csv")
        train(make_config({"rounds": 2, "prompt": {"name": "none"}, "data": data}), Path(folder), CsvFile(str(path)))
        print(path.read_text(encoding="utf-8"), end="")
