"""Before a run: who is there, with which data and model, and whether that goes together."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, TypeAdapter, ValidationError

import fedbbpt
from fedbbpt.backend import BackendInfo, Modality
from fedbbpt.config import Config
from fedbbpt.config.schema import ComponentConfig
from fedbbpt.data.sites import union_of_classes
from fedbbpt.errors import FederationError
from fedbbpt.federation.channel import Channel, Failure, QuorumLost, to_all
from fedbbpt.federation.dtypes import AUTO, MOST_EXACT, dtype_of, following, with_agreed_dtype
from fedbbpt.federation.messages import Request, Response
from fedbbpt.run.experiment import ClientRecord
from fedbbpt.types import Usage

T = TypeVar("T")


class BackendChoice(ComponentConfig, extra="forbid"):
    """A site's backend, without what is private about it."""


class Introduction(BaseModel):
    """What a site says of itself before a run."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    version: str  # of fedbbpt
    modality: Modality
    classes: list[str]
    backend: BackendChoice


class Opened(BaseModel):
    """What a site says once data and model are open for a run."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    info: BackendInfo
    dtype: Annotated[str, Field(pattern=r"^[\w .-]{1,40}$")] | None  # in which it computes; None: a service does
    examples: list[list[NonNegativeInt]] = Field(min_length=3, max_length=3)  # of each class, in each subset
    data: str = Field(pattern="^[0-9a-f]{64}$")  # a fingerprint, whose key stays at the site
    setup: list[NonNegativeInt] = Field(min_length=len(Usage._fields), max_length=len(Usage._fields))

    def record(self, site: str) -> ClientRecord:
        """What the server knows of the client."""
        return ClientRecord(site, *self.examples)


@dataclass
class Roll:
    """The sites that take part, and why the others do not."""

    channel: Channel
    min_sites: int
    deadline: float  # seconds
    away: dict[str, str]
    tell: Callable[[str], None]  # shows a sentence to the user

    @property
    def present(self) -> list[str]:
        """The sites that take part, sorted."""
        return [site for site in self.channel.sites if site not in self.away]

    def ask(self, request: Request) -> dict[str, Response]:
        """The answers of the sites that take part; who gives none takes part no longer.

        Raises:
            QuorumLost: fewer than `min_sites` are left.
        """
        answers = {}
        for site, response in self.channel.request(to_all(request, self.present), self.deadline).items():
            if isinstance(response, Failure) or response.kind != "ok":
                self.away[site] = response.reason
            else:
                answers[site] = response
        self.check()
        return answers

    def check(self) -> None:
        """Raises QuorumLost if fewer than `min_sites` are left."""
        if len(self.present) < max(1, self.min_sites):
            missing = "; ".join(f"{site}: {why}" for site, why in self.away.items()) or "none has joined"
            raise QuorumLost(
                f"{len(self.present)} of the sites take part, and min_sites={self.min_sites} have to ({missing}); "
                "nothing has been asked of a model"
            )


def introductions(roll: Roll) -> dict[str, Introduction]:
    """What each site says of itself; sites with another version of fedbbpt take no part.

    If a site names a dtype, those that leave theirs to the machine follow it.

    Raises:
        FederationError: two sites hold different kinds of data, or query different backends.
    """
    found = _parsed(roll, roll.ask(Request("describe")), Introduction)
    for site, introduction in list(found.items()):
        if introduction.version != fedbbpt.__version__:
            roll.away[site] = f"it runs fedbbpt {introduction.version}, and the server {fedbbpt.__version__}"
            del found[site]
    roll.check()
    check_equal({site: one.modality for site, one in found.items()}, "{} holds {}s", "data of one kind")
    found = _following(found)
    backends = {site: f"{one.backend.name} {_listed(one.backend.options)}".strip() for site, one in found.items()}
    check_equal(backends, "{} queries {}", "the same backend with the same options")
    return found


def opened(roll: Roll, config: Config, request: Callable[[Config], Request]) -> tuple[Config, dict[str, Opened]]:
    """Opens the run at all sites, and gives its config with the dtype in which all of them compute.

    If not all machines are fastest in the same dtype, the sites open the run again, in the most exact one.

    Raises:
        FederationError: two sites query different models, or cannot compute in one dtype.
    """
    found = _parsed(roll, roll.ask(request(config)), Opened)
    if dtype_of(config.backend) == AUTO and len({one.dtype for one in found.values()}) > 1:
        config = with_agreed_dtype(config, MOST_EXACT)
        chosen = ", ".join(f"{site} {one.dtype}" for site, one in found.items())
        roll.tell(f"the sites are not all fastest in the same dtype ({chosen}); all compute in {MOST_EXACT}")
        found = _parsed(roll, roll.ask(request(config)), Opened)
    check_equal({site: one.dtype for site, one in found.items()}, "{} computes in {}", "one dtype")
    check_equal({site: one.info for site, one in found.items()}, "{} queries {}", "the same model")
    return with_agreed_dtype(config, next(iter(found.values())).dtype), found


def check_equal(values: Mapping[str, Any], phrase: str, needed: str) -> None:
    """Raises FederationError if two sites differ; it names both."""
    names = list(values)
    for other in names[1:]:
        if values[other] != values[names[0]]:
            both = " and ".join(phrase.format(site, values[site]) for site in (names[0], other))
            raise FederationError(f"{both}; all sites of a run need {needed}")


def _parsed(roll: Roll, answers: Mapping[str, Response], kind: type[T]) -> dict[str, T]:
    """The answers as what they should be; who says something else takes no part."""
    found: dict[str, T] = {}
    for site, answer in answers.items():
        try:
            found[site] = TypeAdapter(kind).validate_python(answer.fields)
        except ValidationError:
            roll.away[site] = "it does not say of itself what it should; see that it runs this version of fedbbpt"
    roll.check()
    return found


def _following(found: Mapping[str, Introduction]) -> dict[str, Introduction]:
    """The introductions; backends that leave their dtype to the machine have the first that a site names."""
    named = next((dtype for one in found.values() if (dtype := dtype_of(one.backend)) != AUTO), AUTO)
    return {site: one.model_copy(update={"backend": following(one.backend, named)}) for site, one in found.items()}


def _listed(options: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in options.items())


def agreed_classes(found: Mapping[str, Introduction], wanted: Sequence[str] | None) -> tuple[str, ...]:
    """The classes of a run: those that were asked for, or all that any site has.

    Raises:
        FederationError: a site has a class that was not asked for, or all have the same single one.
    """
    if wanted is None:
        classes = union_of_classes(one.classes for one in found.values())
        if len(classes) < 2:
            raise FederationError(f"the sites hold one class only, {classes[0]!r}; a run needs at least two")
        return classes
    for site, one in found.items():
        if others := [name for name in one.classes if name not in wanted]:
            raise FederationError(
                f"{site} has the class {others[0]!r}, which is not among those of the run ({', '.join(wanted)}); add "
                "it to engine.classes, or let the site leave it out"
            )
    return tuple(wanted)
