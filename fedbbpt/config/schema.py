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
    clients: PositiveInt | None = Field(
        default=None, description="clients; unset: 10, or as many as your own data can supply"
    )
    shots_per_class: PositiveInt = Field(
        default=16, description="training examples of each class over all clients, or at each site with data of its own"
    )
    validation_shots_per_class: PositiveInt = Field(
        default=4, description="validation examples of each class, likewise"
    )
    test_limit: PositiveInt | None = Field(
        default=None, description="the most test examples, likewise, drawn at random; unset: all"
    )
    partition: Literal["dirichlet", "shards", "domain"] = Field(
        default="dirichlet",
        description="how examples go to clients: by skewed labels, few classes each, or a domain each",
    )
    dirichlet_alpha: Annotated[float, Field(gt=0)] | None = Field(
        default=None,
        description="the smaller, the more labels are skewed; inf: all clients alike; unset: the task's own",
    )
    shards_per_client: Annotated[int, Field(ge=1, le=MAX_SHARDS)] = Field(
        default=2, description="shards of label-sorted data for each client, where partition is shards"
    )
    empty_clients: Literal["fill", "redraw", "error"] = Field(
        default="fill", description="what happens to clients without training data"
    )


class Config(BaseModel):
    """Everything that determines a run's result, apart from the data and the machine."""

    model_config = ConfigDict(frozen=True, strict=True)
    version: Literal[2] = Field(default=VERSION, description="version of the settings' names")
    seed: NonNegativeInt = Field(default=1, description="random seed")
    rounds: Annotated[int, Field(ge=0, le=MAX_ROUNDS)] = Field(
        description="rounds of training; 0: score the initial parameters"
    )
    evaluate_every: PositiveInt = Field(
        default=1,
        description="rounds between two scores on the validation data; with fedavg, between two fits of the readout",
    )
    patience: NonNegativeInt = Field(
        default=10, description="early stopping: rounds without a lower validation loss; 0: never stop early"
    )
    least_gain: FiniteFloat = Field(
        default=0.5, description="by which a readout must beat an untrained one to be kept, in standard errors"
    )
    max_queries: PositiveInt | None = Field(default=None, description="hard limit on queries, evaluation included")
    max_requests: PositiveInt | None = Field(default=None, description="hard limit on requests")
    max_cost: Dollars | None = Field(default=None, description="hard limit on the cost, in dollars")
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
