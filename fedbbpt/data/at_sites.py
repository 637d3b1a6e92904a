"""The data of a federation, as its server knows them: they are at the sites."""

from collections.abc import Mapping
from typing import Any, cast

from fedbbpt.backend import Modality
from fedbbpt.data import Task
from fedbbpt.errors import ConfigError


class AtSites(Task):
    """Data that stay at the sites of a federation; `modality` is what they are.

    The task of runs with --engine nvflare. It holds nothing, and cannot be chosen.

    Raises:
        ConfigError: always.
    """

    def __init__(self, source: str | None, /, *, modality: Modality = "image") -> None:
        raise ConfigError("the data of this run are at the sites of its federation, and cannot be read here")

    @classmethod
    def modality_of(cls, options: Mapping[str, Any]) -> Modality:
        """See `Task`."""
        return cast(Modality, options["modality"])
