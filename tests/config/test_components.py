from pathlib import Path

import pytest
from pydantic import PositiveFloat

from fedbbpt.config import components
from fedbbpt.errors import ConfigError, UnknownName
from fedbbpt.prompts import Prompt


class Component:
    """As a third party may write it: typed, untyped and obligatory options, and what is no option."""

    wraps = False  # it is registered as a prompt, too

    def __init__(self, context: object, /, name: str = "", *, key: str, gain: PositiveFloat = 2.0, extra=None) -> None:
        pass


class Inner(Prompt):
    """A prompt."""

    modalities = ("text",)

    def __init__(self, size: object, /, *, gain: PositiveFloat = 2.0, shared: str = "inner") -> None:
        self.size, self.gain, self.shared = size, gain, shared

    def apply(self, theta, inputs, features):
        """Never called."""


class Outer(Prompt):
    """A prompt around another."""

    wraps = True

    def __init__(self, size: object, inner: Inner, /, *, dim: int, shared: int = 1) -> None:
        self.size, self.inner, self.dim, self.shared = size, inner, dim, shared

    def apply(self, theta, inputs, features):
        """Never called."""


COMPONENTS = {"mine": Component, "inner": Inner, "none": Inner, "outer": Outer, "other": Outer}


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(components.registry, "load", lambda kind, name: COMPONENTS[name])
    monkeypatch.setattr(components.registry, "names", lambda kind: sorted(COMPONENTS))


def test_defaults_are_filled_in() -> None:
    assert components.resolve("backends", "mine", {"key": "k"}).options == {"key": "k", "gain": 2.0, "extra": None}


def test_untyped_options_take_anything() -> None:
    assert components.resolve("backends", "mine", {"key": "k", "extra": [1, "a"]}).options["extra"] == [1, "a"]


def test_integers_are_numbers_but_strings_and_booleans_are_not() -> None:
    assert components.resolve("backends", "mine", {"key": "k", "gain": 3}).options["gain"] == 3.0
    for wrong in ("3", True, -1.0, float("nan")):
        with pytest.raises(ConfigError, match=r"backend\.gain"):
            components.resolve("backends", "mine", {"key": "k", "gain": wrong})


def test_an_obligatory_option_that_is_missing_is_named() -> None:
    with pytest.raises(ConfigError, match=r"backend\.key: field required"):
        components.resolve("backends", "mine", {})


def test_what_is_not_keyword_only_is_no_option() -> None:
    with pytest.raises(UnknownName, match="'name'"):
        components.resolve("backends", "mine", {"key": "k", "name": "x"})


def test_a_tasks_argument_is_not_part_of_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(components.registry, "load", lambda kind, name: asked.append(name))
    components.load_class("tasks", f"folder:{Path('a:b')}")
    assert asked == ["folder"]


def test_a_wrapping_prompt_takes_the_options_of_both_its_own_first() -> None:
    resolved = components.resolve("prompts", "outer:inner", {"gain": 3.0, "dim": 5})
    assert list(resolved.options.items()) == [("dim", 5), ("shared", 1), ("gain", 3.0)]


def test_options_of_both_are_checked() -> None:
    with pytest.raises(ConfigError, match=r"prompt\.gain: .*greater than 0"):
        components.resolve("prompts", "outer:inner", {"gain": -1.0, "dim": 5})
    with pytest.raises(ConfigError, match=r"prompt\.dim: field required"):
        components.resolve("prompts", "outer:inner", {})
    with pytest.raises(UnknownName, match=r"unknown option of prompt 'outer:inner' 'gian'\. Did you mean 'gain'"):
        components.resolve("prompts", "outer:inner", {"gian": 1.0, "dim": 5})


def test_an_option_of_both_names_is_the_wrapping_ones() -> None:
    resolved = components.resolve("prompts", "outer:inner", {"shared": 4, "dim": 5})
    prompt = components.build_prompt(resolved, (8, 9))
    assert (prompt.shared, prompt.inner.shared) == (4, "inner")


def test_a_wrapping_prompt_is_built_around_the_inner() -> None:
    resolved = components.resolve("prompts", "outer:inner", {"gain": 3.0, "dim": 5})
    prompt = components.build_prompt(resolved, (8, 9))
    assert (type(prompt), prompt.size, prompt.dim) == (Outer, (8, 9), 5)
    assert (type(prompt.inner), prompt.inner.size, prompt.inner.gain) == (Inner, (8, 9), 3.0)


def test_a_prompt_that_wraps_nothing_is_built_as_it_is() -> None:
    prompt = components.build_prompt(components.resolve("prompts", "inner", {"shared": "x"}), None)
    assert (type(prompt), prompt.size, prompt.gain, prompt.shared) == (Inner, None, 2.0, "x")


def test_modalities_of_a_wrapping_prompt_are_the_inners() -> None:
    assert components.modalities_of("outer:inner") == components.modalities_of("inner") == ("text",)


@pytest.mark.parametrize("name", ["outer", "outer:", "outer:outer", "outer:other:inner", "outer:outer:inner"])
def test_a_wrapping_prompt_without_a_plain_one_inside_names_those_there_are(name: str) -> None:
    with pytest.raises(ConfigError, match=r"write outer:NAME with one of inner, mine$"):
        components.resolve("prompts", name, {"dim": 5})
    with pytest.raises(ConfigError, match="write outer:NAME"):
        components.modalities_of(name)


@pytest.mark.parametrize("name", ["outer:iner", "outer:none", "outer:inner:mine"])
def test_an_unknown_inner_prompt_is_an_unknown_name(name: str) -> None:
    with pytest.raises(UnknownName, match=r"unknown prompt to be wrapped by 'outer' .* Known: inner, mine\."):
        components.resolve("prompts", name, {"dim": 5})


def test_nothing_goes_inside_what_does_not_wrap() -> None:
    with pytest.raises(ConfigError, match="prompt 'inner' wraps no other: leave out ':mine'"):
        components.resolve("prompts", "inner:mine", {})
