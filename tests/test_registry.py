import time
from importlib.metadata import EntryPoint, EntryPoints

import pytest

from fedbbpt import registry
from fedbbpt.data.digits import Digits
from fedbbpt.errors import ConfigError, FedbbptError, UnknownName
from fedbbpt.prompts.dct import Dct
from fedbbpt_benchmarks import suite


@pytest.mark.parametrize("kind", registry.KINDS)
def test_names_are_sorted(kind):
    assert registry.names(kind) == sorted(registry.names(kind))


def test_loads_the_class_behind_a_name():
    assert registry.load("prompts", "dct") is Dct


def test_unknown_name_proposes_the_nearest_and_lists_five():
    with pytest.raises(UnknownName, match=r"unknown prompt 'paddding'\. Did you mean 'padding'") as e:
        registry.load("prompts", "paddding")
    shown = str(e.value).partition("The nearest of 11: ")[2].partition("; fedbbpt list prompts shows all.")[0]
    assert shown.split(", ")[0] == "padding"
    assert len(shown.split(", ")) == 5


def test_all_of_a_few_names_are_listed():
    known = registry.names("engines")  # those of other tests among them
    assert {"nvflare", "processes", "serial"} <= set(known)
    with pytest.raises(UnknownName, match=rf"Known: {', '.join(known)}\."):
        registry.load("engines", "cereal")


def test_a_name_of_any_length_is_refused_at_once():
    start = time.perf_counter()
    assert "The nearest of 99: " in str(UnknownName("thing", "x" * 10**6, map(str, range(99))))
    assert time.perf_counter() - start < 1


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


@pytest.fixture
def declared(monkeypatch):
    """Declares entry points in place of those of the installed packages."""

    def declare(*entries):
        monkeypatch.setattr("importlib.metadata.entry_points", lambda **wanted: EntryPoints(entries).select(**wanted))
        forget()

    def forget():
        registry._entries.cache_clear()
        registry._tables.cache_clear()

    yield declare
    forget()


def test_other_packages_entries_are_found(declared):
    declared(EntryPoint("theirs", "fedbbpt.prompts.dct:Dct", "fedbbpt.prompts"))
    assert registry.names("prompts") == ["theirs"]
    assert registry.load("prompts", "theirs") is Dct


def test_a_table_registers_many_names_with_one_entry_point(declared):
    declared(EntryPoint("suite", "fedbbpt_benchmarks.suite:TASKS", "fedbbpt.task_tables"))
    assert registry.names("tasks") == sorted(suite.TASKS)
    assert registry.load("tasks", "ag-news") is suite.TASKS["ag-news"]
    with pytest.raises(UnknownName, match=r"Did you mean 'ag-news'"):
        registry.load("tasks", "ag-new")


def test_an_entry_point_of_its_own_wins_over_a_table(declared):
    table = EntryPoint("suite", "fedbbpt_benchmarks.suite:TASKS", "fedbbpt.task_tables")
    declared(table, EntryPoint("mnist", "fedbbpt.data.digits:Digits", "fedbbpt.tasks"))
    assert registry.load("tasks", "mnist") is Digits
    assert registry.names("tasks").count("mnist") == 1


def test_tables_are_imported_only_for_names_without_an_entry_point(declared):
    table = EntryPoint("broken", "no_such_module:TASKS", "fedbbpt.task_tables")
    declared(table, EntryPoint("digits", "fedbbpt.data.digits:Digits", "fedbbpt.tasks"))
    assert registry.load("tasks", "digits") is Digits
    with pytest.raises(ModuleNotFoundError):
        registry.names("tasks")


def test_a_class_that_does_not_derive_from_its_protocol_is_refused(declared):
    declared(EntryPoint("theirs", "fedbbpt.prompts.dct:Dct", "fedbbpt.backends"))
    sentence = r"backend 'theirs' \(fedbbpt.*:Dct\) does not derive from fedbbpt.backend.Backend: .*Dct\(Backend\)"
    with pytest.raises(ConfigError, match=sentence):
        registry.load("backends", "theirs")


@pytest.mark.parametrize("kind", registry.PROTOCOLS)
def test_all_of_a_kind_derive_from_its_protocol(kind):
    assert all(registry.load(kind, name) for name in registry.names(kind))


def test_a_registered_class_has_its_name_in_this_process(monkeypatch):
    monkeypatch.setattr(registry, "_registered", {})
    registry.register("prompts", "waves", type("Dct", (Dct,), {}))
    registry.register("prompts", "waves", Dct)  # as a notebook's cell does that is run again
    assert registry.load("prompts", "waves") is Dct
    assert "waves" in registry.names("prompts")
    assert "waves" not in registry.names("readouts")


@pytest.mark.parametrize(("name", "component", "error"), [("dct", Digits, "taken"), ("waves", Digits, "derive")])
def test_what_cannot_be_registered_is_refused(name, component, error, monkeypatch):
    monkeypatch.setattr(registry, "_registered", {})
    with pytest.raises(ConfigError, match=error):
        registry.register("prompts", name, component)
