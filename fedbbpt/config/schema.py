"""The settings of a run, resolved: every component by name with all its options."""

from typing import Annotated, Any, Final, Literal

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, NonNegativeInt, PositiveInt

from fedbbpt.config.validation import MAX_STRING
from fedbbpt.web.option_types import Dollars

MAX_ROUNDS, MAX_SHARDS = 10**9, 10_000
VERSION: Final = 2  # of the settings' names and of a run's folder


class ComponentConfig(BaseModel):
    """A component by name, with its options."""

    model_config = ConfigDict(frozen=True, str_max_length=MAX_STRING)
    name: str
    options: dict[str, Any]

    @property
    def table(self) -> dict[str, Any]:
        """As it stands among settings: its name beside its options."""
        return {"name": self.name} | self.options


class Data(BaseModel):
    """How a task's examples are divided among the clients."""

    model_config = ConfigDict(frozen=True, strict=True)
    clients: PositiveInt | None = None  # None: 10, or as many as the user's own data can supply
    shots_per_class: PositiveInt = 16  # training examples, over all clients; of sites with data of their own, each
    validation_shots_per_class: PositiveInt = 4
    test_limit: PositiveInt | None = None  # test examples, likewise, drawn at random; None = all
    partition: Literal["dirichlet", "shards", "domain"] = "dirichlet"
    dirichlet_alpha: Annotated[float, Field(gt=0)] | None = None  # inf: all clients alike; None: the task's own
    shards_per_client: Annotated[int, Field(ge=1, le=MAX_SHARDS)] = 2  # shards of label-sorted data
    empty_clients: Literal["fill", "redraw", "error"] = "fill"  # what happens to clients without training data


class Config(BaseModel):
    """Everything that determines a run's result, apart from the data and the machine."""

    model_config = ConfigDict(frozen=True, strict=True)
    version: Literal[2] = VERSION
    seed: NonNegativeInt = 1
    rounds: Annotated[int, Field(ge=0, le=MAX_ROUNDS)]  # 0: score the initial parameters
    evaluate_every: PositiveInt = 1  # rounds between two scores on the validation data; with `fedavg`, between two fits
    patience: NonNegativeInt = 10  # early stopping: rounds without a lower validation loss; 0: never stop early
    least_gain: FiniteFloat = 0.5  # by which a readout must beat an untrained one to be kept, in standard errors
    max_queries: PositiveInt | None = None
    max_requests: PositiveInt | None = None
    max_cost: Dollars | None = None
    data: Data = Data()
    backend: ComponentConfig
    task: ComponentConfig
    prompt: ComponentConfig
    readout: ComponentConfig
    optimizer: ComponentConfig
    algorithm: ComponentConfig
    engine: ComponentConfig

    def is_evaluated(self, round_: int) -> bool:
        """Whether the validation data are scored after this round: every `evaluate_every` rounds, and the last."""
        return round_ % self.evaluate_every == 0 or round_ == self.rounds

    def to_settings(self) -> dict[str, Any]:
        """The nested settings from which `make_config` makes the same config."""
        components = {key: value.table for key, value in self if isinstance(value, ComponentConfig)}
        return self.model_dump() | components

    def to_toml(self) -> str:
        """Serialises all settings; what is None is left out."""
        return tomli_w.dumps(_without_none(self.to_settings()))


def _without_none(values: dict[str, Any]) -> dict[str, Any]:
    return {k: _without_none(v) if isinstance(v, dict) else v for k, v in values.items() if v is not None}
