"""Callbacks by name, which log a run elsewhere: `fedbbpt train --callback tensorboard:DIR`.

Each takes a target: a folder, an address or a project. A package adds one with an entry point in the group
`fedbbpt.callbacks`, which refers to a class that derives from `fedbbpt.run.callback.Callback`.
"""

from fedbbpt import registry
from fedbbpt.errors import ConfigError
from fedbbpt.printing import short_repr
from fedbbpt.run.callback import Callback


def open_callback(spec: str) -> Callback:
    """The callback of `NAME:TARGET`.

    Raises:
        ConfigError: it has no target.
        UnknownName: no installed package has a callback of that name.
        MissingExtra: what it logs with is not installed.
    """
    name, _, target = spec.partition(":")
    if not target:
        raise ConfigError(
            f"expected a callback as NAME:TARGET, got {short_repr(spec)}; say tensorboard:DIR, mlflow:DIR, mlflow:URI "
            "or wandb:PROJECT"
        )
    callback: Callback = registry.load("callbacks", name)(target)
    return callback
