from importlib.metadata import EntryPoint, EntryPoints

import pytest

from fedbbpt import registry
from fedbbpt.errors import FedbbptError, UnknownName
from fedbbpt.prompts.dct import Dct


@pytest.mark.parametrize("kind", registry.KINDS)
def test_names_are_sorted(kind):
    assert registry.names(kind) == sorted(registry.names(kind))


def test_loads_the_class_behind_a_name():
    assert registry.load("prompts", "dct") is Dct


def test_unknown_name_proposes_the_nearest_and_lists_all():
    with pytest.raises(UnknownName, match=r"unknown prompt 'framme'\. Did you mean 'frame'") as e:
        registry.load("prompts", "framme")
    assert all(name in str(e.value) for name in registry.names("prompts"))


def test_name_like_no_other_gets_no_proposal():
    with pytest.raises(UnknownName) as e:
        registry.load("engines", "zzz")
    assert "Did you mean" not in str(e.value)


def test_unknown_kind_proposes_the_nearest():
    with pytest.raises(UnknownName, match=r"unknown kind 'prompt'\. Did you mean 'prompts'"):
        registry.names("prompt")


def test_unknown_name_is_an_error_of_the_package_and_a_value_error():
    assert issubclass(UnknownName, FedbbptError)
    assert issubclass(UnknownName, ValueError)


def test_nothing_known_is_said_so():
    assert "Known: none." in str(UnknownName("thing", "x", []))


def test_other_packages_entries_are_found(monkeypatch):
    theirs = EntryPoint("theirs", "fedbbpt.prompts.dct:Dct", "fedbbpt.prompts")
    monkeypatch.setattr("importlib.metadata.entry_points", lambda **wanted: EntryPoints([theirs]).select(**wanted))
    registry._entries.cache_clear()
    assert registry.names("prompts") == ["theirs"]
    assert registry.load("prompts", "theirs") is Dct
    registry._entries.cache_clear()
