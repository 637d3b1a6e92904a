"""One dtype for all sites of a run: a backend's "auto" is what its machine is fastest in, and machines differ."""

from typing import Any, TypeVar

from fedbbpt.config import Config
from fedbbpt.config.schema import ComponentConfig
from fedbbpt.errors import ConfigError

AUTO, MOST_EXACT = "auto", "float32"
C = TypeVar("C", bound=ComponentConfig)


def dtype_of(component: ComponentConfig) -> Any:
    """The component's dtype; None if it has none, as a backend that asks a service."""
    return component.options.get("dtype")


def in_dtype(backend: C, dtype: Any) -> C:
    """The backend in this dtype; as it is if there is none, or the machine has yet to choose one."""
    if dtype in (None, AUTO):
        return backend
    return backend.model_copy(update={"options": {**backend.options, "dtype": dtype}})


def following(backend: C, dtype: Any) -> C:
    """The backend, in this dtype if its owner left the choice to the machine."""
    return in_dtype(backend, dtype) if dtype_of(backend) == AUTO else backend


def with_agreed_dtype(config: Config, dtype: Any) -> Config:
    """The settings of a run whose sites agreed on a dtype."""
    return config.model_copy(update={"backend": following(config.backend, dtype)})


def check_algorithm_dtype(config: Config) -> None:
    """Raises ConfigError if each machine would choose in which dtype it computes its part of a split model."""
    if dtype_of(config.algorithm) == AUTO:
        raise ConfigError(
            "over a federation, all machines compute a split model in one dtype: set algorithm.dtype to float32 or "
            "bfloat16"
        )
