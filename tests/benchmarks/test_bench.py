"""The bench's plan, its comparison of methods, and the files that it makes of rows."""

import csv
import dataclasses
import math
import shlex
from pathlib import Path
from types import SimpleNamespace

import pytest
import scipy.stats
from click.testing import CliRunner

from fedbbpt import registry
from fedbbpt.config import make_config
from fedbbpt.errors import ConfigError, RunError, UnknownName
from fedbbpt_benchmarks import suite
from fedbbpt_benchmarks.bench import commands, leaderboard
from fedbbpt_benchmarks.bench.plan import METHODS, SUITES, Bench, Cell


def bench(**changes: object) -> Bench:
    return Bench(**{"tasks": ("digits",), "methods": ("zero-shot", "head"), "seeds": (1,), "settings": {}} | changes)


def row(task: str, method: str, seed: int, accuracy: float) -> dict[str, object]:
    return {
        **{"task": task, "method": method, "seed": seed, "accuracy": accuracy, "error": None},
        **{"macro_f1": accuracy / 2, "majority": 0.1, "test_examples": 100, "queries": 1000 * seed, "requests": 10},
        **{
            "tokens": 2500.0 * seed,
            "exchanges": 20 * seed,
            "bytes_up": 300 * seed,
            "bytes_down": 700 * seed,
            "folder": f"{task}/{method}/seed-{seed}",
            "versions": {"fedbbpt": "1", "torch": None},
        },
    }


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


class TestLeaderboard:
    TASKS = ("digits", "shapes", "stripes", "letters", "serifs", "mnist")
    GAINS = (0.1, 0.2, 0.3, -0.05, 0.0, 0.4)

    @pytest.fixture
    def rows(self) -> list[dict[str, object]]:
        zero = [row(task, "zero-shot", seed, 0.5) for task in self.TASKS for seed in (1, 2)]
        head = [
            row(task, "head", seed, 0.5 + gain + 0.01 * (2 * seed - 3))
            for task, gain in zip(self.TASKS, self.GAINS, strict=True)
            for seed in (1, 2)
        ]
        return zero + head

    def test_methods_are_compared_task_by_task(self, rows: list[dict[str, object]]) -> None:
        best, zero = leaderboard.rankings(bench(tasks=self.TASKS, seeds=(1, 2)), rows)
        assert (best.method, best.tasks, best.wins, best.ties, best.losses) == ("head", 6, 4, 1, 1)
        assert best.accuracy == pytest.approx(0.5 + sum(self.GAINS) / 6)
        assert (best.queries, best.requests, best.tokens, best.sent) == (1500, 10, 3750, 1500)
        assert best.exchanges == 30
        assert best.access == "answers"
        assert best.p == pytest.approx(scipy.stats.wilcoxon(self.GAINS).pvalue)
        assert (zero.method, zero.wins, zero.p) == ("zero-shot", None, None)

    def test_the_method_to_be_compared_with_is_chosen(self, rows: list[dict[str, object]], tmp_path: Path) -> None:
        one = bench(tasks=self.TASKS, seeds=(1, 2), against="head")
        best, zero = leaderboard.rankings(one, rows)
        assert (zero.method, zero.wins, zero.ties, zero.losses) == ("zero-shot", 1, 1, 4)
        assert (best.method, best.wins) == ("head", None)
        one.save(tmp_path)
        assert Bench.load(tmp_path) == one

    def test_a_task_that_one_method_did_not_finish_is_not_compared(self, rows: list[dict[str, object]]) -> None:
        left = [r for r in rows if (r["task"], r["method"]) != ("mnist", "zero-shot")]
        best = leaderboard.rankings(bench(tasks=self.TASKS, seeds=(1, 2)), left)[0]
        assert (best.tasks, best.wins + best.ties + best.losses) == (6, 5)

    def test_files_hold_means_spreads_links_and_failures(
        self, rows: list[dict[str, object]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(leaderboard, "run_results", lambda folder: ({}, []))
        failed = {"task": "mnist", "method": "head", "seed": 3, "folder": "x", "error": "<no> luck"}
        leaderboard.write(bench(tasks=self.TASKS, seeds=(1, 2, 3)), tmp_path, [*rows, failed])
        text = (tmp_path / "leaderboard.md").read_text()
        assert "[.600](digits/head) ± .014" in text
        assert "- mnist, head, seed 3: <no> luck" in text
        assert "| mnist | 1,500 / 10 / 3,750 | 1,500 / 10 / 3,750 |" in text
        page = (tmp_path / "leaderboard.html").read_text()
        assert '<a href="digits/head" class="best">.600</a>' in page
        assert "&lt;no&gt; luck" in page
        with (tmp_path / "leaderboard.csv").open() as file:
            table = list(csv.DictReader(file))
        assert len(table) == 12
        assert {line["exchanges"] for line in table} == {"30.000000"}
        assert "| 3,750 | 30 | 1.5" in text
        assert float(table[-1]["accuracy"]) == pytest.approx(0.9)

    def test_what_is_published_has_no_links_and_says_why_a_head_fails(
        self, rows: list[dict[str, object]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        noted = dataclasses.replace(suite.SPECS["mnist"], note="too few digits.")
        monkeypatch.setitem(suite.SPECS, "mnist", noted)
        leaderboard.publish(bench(tasks=self.TASKS, seeds=(1, 2)), tmp_path / "kept" / "one", rows)
        text = (tmp_path / "kept" / "one.md").read_text()
        assert "| .600 ± .014 |" in text
        assert "](" not in text
        assert "- mnist: too few digits." in text
        assert "fedbbpt bench --tasks digits,shapes" in text
        assert len((tmp_path / "kept" / "one.jsonl").read_text().splitlines()) == len(rows)
        assert (tmp_path / "kept" / "one.csv").exists()

    def test_one_seed_links_to_its_report(self) -> None:
        (entry,) = leaderboard.entries([row("digits", "head", 1, 0.5)]).values()
        assert entry.folder == "digits/head/seed-1/report.html"
        assert entry.spread is None
