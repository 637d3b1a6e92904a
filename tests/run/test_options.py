from pathlib import Path

import pytest
from pydantic import PositiveFloat

from fedbbpt.errors import ConfigError, UnknownName
from fedbbpt.run import options


class Component:
    """As a third party may write it: typed, untyped and obligatory options, and what is no option."""

    def __init__(self, context: object, /, name: str = "", *, key: str, gain: PositiveFloat = 2.0, extra=None) -> None:
        pass


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(options.registry, "load", lambda kind, name: Component)


def test_defaults_are_filled_in() -> None:
    assert options.resolve("backends", "mine", {"key": "k"}) == {"key": "k", "gain": 2.0, "extra": None}


def test_untyped_options_take_anything() -> None:
    assert options.resolve("backends", "mine", {"key": "k", "extra": [1, "a"]})["extra"] == [1, "a"]


def test_integers_are_numbers_but_strings_and_booleans_are_not() -> None:
    assert options.resolve("backends", "mine", {"key": "k", "gain": 3})["gain"] == 3.0
    for wrong in ("3", True, -1.0, float("nan")):
        with pytest.raises(ConfigError, match=r"backend\.gain"):
            options.resolve("backends", "mine", {"key": "k", "gain": wrong})


def test_an_obligatory_option_that_is_missing_is_named() -> None:
    with pytest.raises(ConfigError, match=r"backend\.key: field required"):
        options.resolve("backends", "mine", {})


def test_what_is_not_keyword_only_is_no_option() -> None:
    with pytest.raises(UnknownName, match="'name'"):
        options.resolve("backends", "mine", {"key": "k", "name": "x"})


def test_a_tasks_argument_is_not_part_of_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(options.registry, "load", lambda kind, name: asked.append(name))
    options.load_class("tasks", f"folder:{Path('a:b')}")
    assert asked == ["folder"]
