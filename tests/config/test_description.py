from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, PositiveFloat, PositiveInt

from fedbbpt import registry
from fedbbpt.config import components
from fedbbpt.config.description import describe, type_text
from fedbbpt.errors import UnknownName

COMPONENTS = [(kind, name) for kind in registry.KINDS for name in registry.names(kind)]


class Base:
    """A base.

    `shared` is described by the base alone.
    """

    def __init__(self, *, shared: int = 1) -> None:
        pass


class Component(Base):
    """The summary (Doe et al. 2023, arXiv 2301.00001).

    The `gain` scales everything; `mode` does not. It follows Doe and Roe 2024
    at NeurIPS 2024, and Roe et al. 2020 (TMLR, arXiv:2001.00001).

    Args:
        key: names the key,
            on two lines.
    """

    def __init__(
        self, context: object, /, *, key: str, gain: PositiveFloat = 2.0, mode: Literal["a", "b"] = "a", shared: int = 1
    ) -> None:
        pass


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(components.registry, "load", lambda kind, name: Component)


@pytest.mark.usefixtures("registered")
def test_options_have_types_defaults_and_a_sentence_each() -> None:
    described = describe("backends", "mine")
    assert described.summary == "The summary (Doe et al. 2023, arXiv 2301.00001)."
    assert list(map(tuple, described.options)) == [
        ("key", "str", "required", "names the key, on two lines."),
        ("gain", "float > 0", "2.0", "The `gain` scales everything; `mode` does not."),
        ("mode", '"a" | "b"', '"a"', "The `gain` scales everything; `mode` does not."),
        ("shared", "int", "1", "`shared` is described by the base alone."),
    ]


@pytest.mark.usefixtures("registered")
def test_source_and_papers() -> None:
    described = describe("backends", "mine")
    assert described.source == f"{__name__}.Component"
    assert described.papers == [
        "Doe et al. 2023, arXiv 2301.00001",
        "Doe and Roe 2024",
        "Roe et al. 2020, TMLR, arXiv 2001.00001",
    ]


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        (int, "int"),
        (PositiveInt, "int > 0"),
        (bool, "bool"),
        (Annotated[int, Field(ge=1, le=10_000)], "1 ≤ int ≤ 10,000"),
        (Annotated[float, Field(gt=0, lt=1)], "0 < float < 1"),
        (Annotated[float, Field(le=0.5)], "float ≤ 0.5"),
        (PositiveInt | None, "int > 0"),
        (Literal["auto"] | PositiveFloat, '"auto" | float > 0'),
        (list[str] | None, "list of str"),
        (tuple[float, float], "list of float, float"),
        (dict[str, int], "table"),
        (Any, "any"),
    ],
)
def test_types_are_written_with_their_bounds(annotation: Any, text: str) -> None:
    assert type_text(annotation) == text


@pytest.mark.parametrize(("kind", "name"), COMPONENTS)
def test_every_component_can_be_described(kind: str, name: str) -> None:
    described = describe(kind, name)
    assert described.summary
    assert "\n" not in described.summary
    assert described.source.startswith("fedbbpt")


def test_a_wrapping_prompt_is_described_with_what_it_wraps() -> None:
    outer, both = describe("prompts", "subspace"), describe("prompts", "subspace:dct")
    assert [option.name for option in both.options] == [
        option.name for option in (*outer.options, *describe("prompts", "dct").options)
    ]


@pytest.mark.parametrize(("kind", "name"), [("prompts", "colr"), ("prompts", "subspace:colr"), ("kinds", "x")])
def test_unknown_names(kind: str, name: str) -> None:
    with pytest.raises(UnknownName):
        describe(kind, name)
