"""A finished run, as Python sees it."""

import html
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedbbpt.run.environment import read_results

if TYPE_CHECKING:
    from fedbbpt.tuned.model import TunedModel


@dataclass(frozen=True)
class Run:
    """The folder of a finished run, and what is in it. In a notebook it shows its report.

    Attributes:
        folder: holds the config, the metrics, the checkpoints, the cost and the report.
    """

    folder: Path

    @property
    def summary(self) -> dict[str, Any]:
        """The contents of `summary.json`: accuracies, the best round, costs.

        Raises:
            RunError: the run is not finished, or its results have changed since.
        """
        return read_results(self.folder)[0]

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """The rows of `metrics.jsonl`, one for each round; raises as `summary` does."""
        return read_results(self.folder)[1]

    @property
    def test_accuracy(self) -> float:
        """The accuracy of the best parameters on the clients' test data; NaN if there are none."""
        accuracy = self.summary["test_accuracy"]
        return float("nan") if accuracy is None else float(accuracy)

    @property
    def report(self) -> Path:
        """The report, a web page in one file."""
        return self.folder / "report.html"

    def load(self, **limits: Any) -> "TunedModel":
        """The tuned model; see `fedbbpt.load`."""
        from fedbbpt.tuned.loading import load

        return load(self.folder, **limits)

    def _repr_html_(self) -> str:
        """The report, for notebooks."""
        page = html.escape(self.report.read_text("utf-8"))
        frame = f'<iframe title="report" srcdoc="{page}" style="width: 100%; height: 40em; border: 1px solid #8888">'
        return f"<p><code>{html.escape(str(self.folder))}</code></p>{frame}</iframe>"
