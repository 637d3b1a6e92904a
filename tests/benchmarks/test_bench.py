"""The bench's plan, its defaults, and the list of methods."""

import math
import shlex
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from fedbbpt import registry
from fedbbpt.config import make_config
from fedbbpt.errors import ConfigError, RunError, UnknownName
from fedbbpt_benchmarks.bench import commands
from fedbbpt_benchmarks.bench.plan import METHODS, SUITES, Bench, Cell


def bench(**changes: object) -> Bench:
    return Bench(**{"tasks": ("digits",), "methods": ("zero-shot", "head"), "seeds": (1,), "settings": {}} | changes)


class TestPlan:
    def test_methods_say_what_they_have_of_the_model(self) -> None:
        access = {name: METHODS[name].access for name in ("default", "sfl-linear", "sfl-full", "fl-linear")}
        assert access == {
            "default": "answers",
            "sfl-linear": "activations",
            "sfl-full": "activations and gradients",
            "fl-linear": "weights",
        }

    def test_cells_are_all_combinations_in_order(self) -> None:
        cells = bench(tasks=("digits", "shapes"), seeds=(1, 2)).cells
        assert len(cells) == len(set(cells)) == 8
        assert cells[0] == Cell("digits", "zero-shot", 1)
        assert cells[-1] == Cell("shapes", "head", 2)

    def test_prompts_for_images_are_not_run_on_texts(self) -> None:
        cells = bench(tasks=("digits", "newsgroups"), methods=("head", "best")).cells
        assert [(cell.task, cell.method) for cell in cells] == [
            ("digits", "head"),
            ("digits", "best"),
            ("newsgroups", "head"),
        ]
        with pytest.raises(ConfigError, match="one method that goes with it"):
            bench(tasks=("newsgroups",), methods=("best",))

    @pytest.mark.parametrize("name", SUITES)
    def test_every_task_of_a_suite_exists(self, name: str) -> None:
        assert set(SUITES[name]) <= set(registry.names("tasks"))
        assert len(set(SUITES[name])) == len(SUITES[name])

    @pytest.mark.parametrize("method", METHODS)
    def test_every_method_is_a_config_that_holds(self, method: str) -> None:
        tasks = {"image": "digits", "text": "spam"}
        for modality in METHODS[method].modalities:
            config = bench(settings={"rounds": 4, "data": {"shots_per_class": 3}}).config(
                Cell(tasks[modality], method, 7)
            )
            assert (config.seed, config.task.name, config.data.shots_per_class) == (7, tasks[modality], 3)

    def test_methods_for_texts_search_with_what_is_theirs(self) -> None:
        searches = {"bandit": "bandit", "fed-bdpl": "bdpl", "fedone": "bdpl", "fed-bbt": "sep-cma", "fedbpt": "sep-cma"}
        for method, search in searches.items():
            config = bench(tasks=("spam",)).config(Cell("spam", method, 1))
            assert (config.optimizer.name, config.readout.name) == (search, "identity")
        config = make_config({"task": {"name": "spam"}, "algorithm": {"name": "fedbpt"}, "prompt": {"name": "soft"}})
        assert config.optimizer.name == "sep-cma"
        config = make_config(
            {"task": {"name": "spam"}, "algorithm": {"name": "fedavg"}, "prompt": {"name": "discrete"}}
        )
        assert config.optimizer.name == "bdpl"

    def test_a_method_is_stronger_than_the_settings_of_all(self) -> None:
        config = bench(settings={"prompt": {"name": "padding", "epsilon": 0.3}, "rounds": 4}).config(
            Cell("digits", "zero-shot", 1)
        )
        assert (config.prompt.name, config.rounds) == ("none", 0)

    def test_it_is_read_back_as_it_was(self, tmp_path: Path) -> None:
        settings = {
            "data": {"test_limit": 5, "dirichlet_alpha": math.inf},
            "rounds": 2,
            "algorithm": {"calibrate": False},
        }
        one = bench(settings=settings, seeds=(1, 3))
        one.save(tmp_path / "new")
        assert Bench.load(tmp_path / "new") == one
        assert Bench.load(tmp_path / "new").command == one.command
        with pytest.raises(RunError, match="no bench in"):
            Bench.load(tmp_path)
        (tmp_path / "new" / "bench.toml").write_text("tasks = [")
        with pytest.raises(ConfigError, match="is not TOML"):
            Bench.load(tmp_path / "new")

    @pytest.mark.parametrize(
        ("changes", "error", "said"),
        [
            ({"tasks": ("digit",)}, UnknownName, "Did you mean 'digits'"),
            ({"methods": ("heads",)}, UnknownName, "Did you mean 'head'"),
            ({"against": "heads"}, UnknownName, "Did you mean 'head'"),
            ({"seeds": ()}, ConfigError, "at least one"),
        ],
    )
    def test_mistakes_are_said(self, changes: dict[str, object], error: type[Exception], said: str) -> None:
        with pytest.raises(error, match=said):
            bench(**changes)

    @pytest.mark.parametrize(
        ("tasks", "against"), [(SUITES["smoke"], "zero-shot"), (("digits", "csv:my data.csv"), "head")]
    )
    def test_its_command_starts_the_same_again(
        self, tasks: tuple[str, ...], against: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        settings = {"data": {"test_limit": 5}, "task": {"text_column": "a b"}, "rounds": 3}
        one = bench(tasks=tasks, seeds=(1, 2), settings=settings, against=against)
        started: list[Bench] = []
        monkeypatch.setattr(Bench, "config", lambda self, cell: SimpleNamespace(task=SimpleNamespace(name=cell.task)))
        monkeypatch.chdir(tmp_path)

        def save(self: Bench, folder: Path) -> None:
            started.append(self)
            raise RunError("far enough")

        monkeypatch.setattr(Bench, "save", save)
        program, command, *arguments = shlex.split(one.command)
        assert (program, command) == ("fedbbpt", "bench")
        CliRunner().invoke(commands.bench, arguments)
        assert started == [one]

    def test_folders_stay_below_the_bench(self) -> None:
        assert ".." not in Cell("folder:../secret", "head", 1).path.parts


def test_the_default_methods_are_those_of_a_first_comparison() -> None:
    (default,) = (option.default for option in commands.bench.params if option.name == "methods")
    assert default == "zero-shot,head,fed-bbpt,default"
    assert set(default.split(",")) <= METHODS.keys()


def test_all_methods_are_listed() -> None:
    result = CliRunner().invoke(commands.bench, ["--list"])
    assert result.exit_code == 0
    assert [line.split()[0] for line in result.stdout.splitlines()] == list(METHODS)
