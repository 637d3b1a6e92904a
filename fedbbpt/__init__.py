"""Federated black-box prompt tuning: clients improve a prompt for a model that they may only query.

    import fedbbpt

    run = fedbbpt.train(task="digits", rounds=3)
    model = fedbbpt.load(run.folder)
    print(run.test_accuracy, model.predict("seven.png"))

The command line does the same: see `fedbbpt --help`. The settings are those of `fedbbpt config show`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fedbbpt.api.classifier import PromptClassifier
    from fedbbpt.api.run import Run
    from fedbbpt.api.training import resume, train
    from fedbbpt.tuned.loading import load
    from fedbbpt.tuned.model import TunedModel

__all__ = ["PromptClassifier", "Run", "TunedModel", "__version__", "load", "resume", "train"]
__version__ = "0.1.0"

_PLACES = {
    "PromptClassifier": "fedbbpt.api.classifier",
    "Run": "fedbbpt.api.run",
    "TunedModel": "fedbbpt.tuned.model",
    "load": "fedbbpt.tuned.loading",
    "resume": "fedbbpt.api.training",
    "train": "fedbbpt.api.training",
}


def __getattr__(name: str) -> Any:
    """Imports what is asked for only then, so that `import fedbbpt` is light."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    """The names of this module, for completion."""
    return sorted({*globals(), *_PLACES})
