"""`fedbbpt list`: components, and the options of one."""

import pytest
from click.testing import CliRunner

from fedbbpt import registry
from fedbbpt.assets import store
from fedbbpt.cli import main
from fedbbpt.config.description import describe
from fedbbpt.data.digits import Digits
from fedbbpt.prompts.dct import Dct


def listed(*arguments: str) -> list[str]:
    result = CliRunner().invoke(main, ["list", *arguments])
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()


@pytest.mark.parametrize("kind", ["engines", "optimizers", "prompts"])
def test_a_kind_is_one_line_per_component(kind: str) -> None:
    lines = listed(kind)
    assert [line.split()[0] for line in lines] == registry.names(kind)
    assert all(len(line.split()) > 2 for line in lines)


def test_a_task_is_listed_with_what_is_known_of_it_without_a_download(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "fetch", lambda *_, **__: pytest.fail("nothing may be fetched"))
    lines = {line.split()[0]: line.split() for line in listed("tasks")}
    assert lines.keys() == set(registry.names("tasks"))
    assert lines["digits"][1:8] == ["image", "10", "883", "914", "local", "none", "CC-BY-4.0"]
    assert lines["wesnoth-races"][1:9] == ["image", "17", "2,798", "2,744", "-", "146", "MB", "apt-get"]
    assert lines["sst2"][1:8] == ["text", "2", "5,000", "872", "hub", "?", "hub"]
    assert lines["csv"][1:8] == ["text", "-", "-", "-", "-", "none", "-"]


def test_what_is_listed_of_digits_is_what_they_hold() -> None:
    data, facts = Digits(None).load((8, 8)), Digits.facts()
    assert (facts.train, facts.test) == (len(data.train), len(data.test))


def test_backends_are_listed_with_what_they_read_and_the_extra_that_they_need() -> None:
    assert [line.split()[:3] for line in listed("backends")][:2] == [
        ["hf-text", "text", "local"],
        ["http-json", "image", "text"],
    ]


def test_an_unknown_kind_suggests_the_nearest() -> None:
    result = CliRunner().invoke(main, ["list", "task"])
    assert result.exit_code == 1
    assert "unknown kind 'task'. Did you mean 'tasks'?" in result.stderr


def test_a_component_is_a_summary_its_options_and_a_source() -> None:
    summary, _, headings, *options, _, source = listed("engines", "processes")
    assert summary
    assert headings.split() == ["option", "type", "default", "meaning"]
    assert [line.split()[:5] for line in options] == [["workers", "int", ">", "0", "2"]]
    assert source.split() == ["source", "fedbbpt.engines.processes.Processes"]


def test_papers_are_cited() -> None:
    assert any(line.startswith("paper") and "2310.03123" in line for line in listed("algorithms", "fedavg"))


def test_an_unknown_component_suggests_the_nearest() -> None:
    result = CliRunner().invoke(main, ["list", "optimizers", "cmaa"])
    assert result.exit_code == 1
    assert "unknown optimizer 'cmaa'. Did you mean 'cma'" in result.stderr


@pytest.mark.parametrize("kind", registry.KINDS)
def test_every_component_is_printed_with_types_defaults_and_source(kind: str) -> None:
    for name in registry.names(kind):
        lines = listed(kind, name)
        assert lines[0].strip()
        assert sum(line.startswith("source ") for line in lines) == 1
        options = describe(kind, name).options
        assert all(option.type and option.default for option in options)
        assert all(any(line.startswith(option.name) for line in lines) for option in options)


def test_a_component_of_ones_own_is_listed_like_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_registered", {})
    registry.register("prompts", "waves", type("Waves", (Dct,), {"__doc__": "Waves of colour."}))
    assert any(line.startswith("waves") and line.endswith("Waves of colour.") for line in listed("prompts"))
    assert listed("prompts", "waves")[0] == "Waves of colour."
