"""Figures of a run of SFPrompt: what they are drawn from, and the command."""

import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from numpy.typing import NDArray

from fedbbpt.algorithms import ServerState
from fedbbpt.cli import main
from fedbbpt.data.partition import label_counts
from fedbbpt.errors import ConfigError
from fedbbpt.run import again
from fedbbpt.run.report.page import write_report
from fedbbpt.types import Client
from fedbbpt_benchmarks.bench import runner
from fedbbpt_benchmarks.figures import embedding, plan

SETTINGS = [
    *("--algorithm", "sfprompt", "--clients", "2", "--shots-per-class", "1", "--rounds", "1"),
    *("-o", "data.test_limit=20"),
]
FAST = [
    *("-o", "data.validation_shots_per_class=1", "-o", "algorithm.batch_size=8"),
    *("-o", "algorithm.num_prompt_tokens=2"),
]


def fedbbpt(*arguments: object) -> Result:
    return CliRunner().invoke(main, [*map(str, arguments)])


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run. Read only."""
    folder = tmp_path_factory.mktemp("runs") / "one"
    assert fedbbpt("train", *SETTINGS, *FAST, "--out", folder).exit_code == 0
    return folder


@pytest.fixture(scope="module")
def with_figures(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with its figures, for two and three clients. Read only."""
    folder = tmp_path_factory.mktemp("runs") / "with_figures"
    shutil.copytree(trained, folder)
    result = fedbbpt("figures", folder, "--clients", "3")
    assert result.exit_code == 0, result.output
    assert "5/5  SFPrompt with 3 clients  0." in result.output
    return folder


class TestEmbedding:
    def test_a_vote_leaves_out_the_point_itself(self) -> None:
        near = np.random.default_rng(0).normal(size=(6, 4))
        groups = np.concatenate([near, near + 100]).astype(np.float32)
        labels = np.repeat([0, 1], 6)
        assert embedding.vote(groups, labels) == 1
        labels[0] = 1
        assert embedding.vote(groups, labels) == pytest.approx(11 / 12)

    def test_the_same_seed_gives_the_same_picture(self) -> None:
        found = np.random.default_rng(0).normal(size=(embedding.FEWEST, 12)).astype(np.float32)
        points = embedding.tsne(found, 2**40)
        assert points.shape == (embedding.FEWEST, 2)
        np.testing.assert_array_equal(points, embedding.tsne(found, 2**40))

    def test_at_most_so_many_test_images_are_drawn(
        self, make_client: Callable[..., Client], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        clients = [make_client("a", seed=1), make_client("b", seed=2)]
        assert [len(part) for part in embedding.sample_test_images(clients, 0)] == [9, 9]
        monkeypatch.setattr(embedding, "POINTS", 7)
        some = embedding.sample_test_images(clients, 0)
        assert sum(map(len, some)) == 7
        for part, client in zip(some, clients, strict=True):
            assert {*part.contents()} <= {*client.test.contents()}

    def test_features_are_those_of_the_parameters(self, trained: Path) -> None:
        experiment = again.reopen(trained, None)
        best = again.load_best(trained, experiment)[1].parameters
        data = embedding.sample_test_images(experiment.clients, 1)
        split = embedding.partitioned(experiment)
        found = embedding.features(split, best, data, 100)
        assert found.shape == (20, (split.sizes["classifier"] // 10) - 1)
        np.testing.assert_allclose(embedding.features(split, best, data, 3), found, atol=1e-4)
        assert not np.allclose(embedding.features(split, {}, data, 100), found, atol=1e-4)
        whole = embedding.partitioned(experiment, num_prompt_tokens=0)
        start = embedding.features(whole, {}, data, 100)
        linear = {"classifier": np.ones(split.sizes["classifier"], np.float32)}
        np.testing.assert_array_equal(embedding.features(whole, linear, data, 100), start)

    @pytest.mark.parametrize("found", [np.ones((12, 4)), np.full((12, 4), np.nan), 1e30 * np.eye(12)])
    def test_features_without_shape_are_not_drawn(self, found: NDArray[np.float64]) -> None:
        assert not embedding.is_drawable(found.astype(np.float32))
        assert embedding.is_drawable(np.eye(12, dtype=np.float32))


class TestPlan:
    def test_settings_are_those_of_the_run_but_for_the_tuning_and_the_clients(self, trained: Path) -> None:
        beside = plan.beside(trained, [5, 3])
        assert [str(cell.path) for cell in beside.cells] == [
            *("clients-002/sfl-full", "clients-002/sfl-linear"),
            *(f"clients-00{n}/{name}" for n in (3, 5) for name in ("sfl-full", "sfl-linear", "sfprompt")),
        ]
        ours = again.reopen(trained, None).config
        configs = {cell: beside.config(cell) for cell in beside.cells}
        for cell, config in configs.items():
            assert isinstance(cell, plan.Tuning)
            assert config.data == ours.data.model_copy(update={"clients": cell.clients})
            same = {key for key, value in config.algorithm.options.items() if value == ours.algorithm.options[key]}
            changed = {
                "sfprompt": set(),
                "sfl-linear": {"num_prompt_tokens", "keep_fraction", "local_epochs", "trainable", "lr"},
                "sfl-full": {"num_prompt_tokens", "keep_fraction", "local_epochs", "trainable", "lr", "batch_size"},
            }[cell.method]
            assert {*ours.algorithm.options} - same == changed
            assert config.model_copy(update={"data": ours.data, "algorithm": ours.algorithm}) == ours

    def test_all_run_in_this_process(self, trained: Path, tmp_path: Path) -> None:
        shutil.copytree(trained, tmp_path / "run")
        config = tmp_path / "run" / "config.toml"
        config.write_text(
            config.read_text().replace('name = "sfprompt"', 'name = "sfprompt"\nbody_url = "http://there"')
        )
        beside = plan.beside(tmp_path / "run", [2])
        assert {beside.config(cell).algorithm.options["body_url"] for cell in beside.cells} == {None}

    @pytest.mark.parametrize("text", ["0", "5,0", "", "5,", "-1", "ten", "2.5"])
    def test_clients_are_numbers(self, text: str) -> None:
        with pytest.raises(ConfigError, match="--clients wants numbers of 1 or more"):
            plan.numbers(text)


class TestCommand:
    def test_numbers_are_those_of_the_runs(self, with_figures: Path) -> None:
        saved = json.loads((with_figures / "figures.json").read_text())
        by_clients, labels, read = (figure["numbers"] for figure in saved["figures"])
        assert by_clients["clients"] == [2, 3]
        for method, shares in by_clients["test_accuracy"].items():
            for clients, share in zip((2, 3), shares, strict=True):
                own = (method, clients) == ("sfprompt", 2)
                folder = with_figures if own else with_figures / "figures" / f"clients-00{clients}" / method
                assert share == json.loads((folder / "summary.json").read_text())["test_accuracy"]
        assert not (with_figures / "figures" / "clients-002" / "sfprompt").exists()
        experiment = again.reopen(with_figures, None)
        counts = np.array(labels["counts"])
        assert counts.shape == (2, 10)
        ours = np.array([label_counts(client.train, 10) for client in experiment.clients])
        np.testing.assert_array_equal(counts.sum(0), ours.sum(0))
        assert len(read["labels"]) == 20
        assert [panel["name"] for panel in read["panels"]] == ["no tuning, and linear", "full fine-tuning", "SFPrompt"]
        assert all(0 <= panel["vote"] <= 1 and len(panel["points"]) == 20 for panel in read["panels"])

    def test_report_shows_them_and_needs_nothing_else(self, with_figures: Path, trained: Path) -> None:
        page = (with_figures / "report.html").read_text()
        saved = json.loads((with_figures / "figures.json").read_text())
        for figure in saved["figures"]:
            assert all(chart in page for chart in figure["charts"])
        assert "20 test images, drawn anew for each number of clients" in page
        assert "<td>3 clients</td>" not in page
        assert '<th scope="col">3 clients</th>' in page
        assert saved["title"] in page
        assert not re.findall(r"""(?:src|href)="(?!data:|#)|<script|@import|url\(""", page)
        assert saved["title"] not in (trained / "report.html").read_text()

    def test_report_keeps_them_and_escapes_their_texts(self, with_figures: Path, tmp_path: Path) -> None:
        shutil.copytree(with_figures, tmp_path / "run")
        experiment = again.reopen(tmp_path / "run", None)
        state: ServerState = again.load_best(tmp_path / "run", experiment)[1]
        before = (tmp_path / "run" / "report.html").read_bytes()
        assert write_report(tmp_path / "run", experiment, state).read_bytes() == before
        file = tmp_path / "run" / "figures.json"
        saved = json.loads(file.read_text())
        saved["figures"][0] |= {"note": "<b>note</b>", "table": [["<i>"], ["<u>", "1"]], "legend": [["<s>", "#000"]]}
        file.write_text(json.dumps(saved))
        page = write_report(tmp_path / "run", experiment, state).read_text()
        assert not re.findall("<[bius]>", page)
        assert "&lt;b&gt;note" in page

    def test_finished_runs_are_not_repeated(
        self, with_figures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        shutil.copytree(with_figures, tmp_path / "run")
        monkeypatch.setattr(runner, "run_cell", lambda *cell: pytest.fail("trained again"))
        result = fedbbpt("figures", tmp_path / "run", "--clients", "3,2")
        assert result.exit_code == 0, result.output
        assert "5 done already" in result.output
        assert (tmp_path / "run" / "figures.json").read_bytes() == (with_figures / "figures.json").read_bytes()

    def test_what_fails_is_left_out_and_reported(
        self, with_figures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        shutil.copytree(with_figures, tmp_path / "run")
        shutil.rmtree(tmp_path / "run" / "figures" / "clients-002" / "sfl-full")
        monkeypatch.setattr(runner, "run_cell", lambda *cell: "the parameters diverged")
        result = fedbbpt("figures", tmp_path / "run", "--clients", "3")
        assert result.exit_code == 1
        assert "full fine-tuning with 2 clients  failed: the parameters diverged" in result.output
        assert "1 of 5 runs failed and are not drawn" in result.output
        saved = json.loads((tmp_path / "run" / "figures.json").read_text())
        assert "Not drawn, because their runs failed: full fine-tuning with 2 clients." in saved["figures"][0]["note"]
        assert saved["figures"][0]["numbers"]["test_accuracy"]["sfl-full"][0] is None
        assert "Full fine-tuning is missing" in saved["figures"][2]["note"]
        assert len(saved["figures"][2]["charts"]) == 2

    def test_ctrl_c_says_how_to_go_on(self, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def stop(*cell: object) -> None:
            raise KeyboardInterrupt

        shutil.copytree(trained, tmp_path / "run")
        monkeypatch.setattr(runner, "run_cell", stop)
        result = fedbbpt("figures", tmp_path / "run", "--clients", "3")
        assert result.exit_code == 130
        assert f"nothing is lost. Continue with: fedbbpt figures {tmp_path / 'run'} --clients 3" in result.output

    def test_refusals_come_before_anything_is_trained(self, trained: Path, tmp_path: Path) -> None:
        shutil.copytree(trained, run := tmp_path / "run")
        shutil.copytree(trained, unfinished := tmp_path / "unfinished")
        (unfinished / "summary.json").unlink()
        shutil.copytree(trained, other := tmp_path / "other")
        shutil.copytree(trained, whole := tmp_path / "whole")
        (other / "config.toml").write_text('version = 2\n[algorithm]\nname = "ensemble"\n')
        config = whole / "config.toml"
        config.write_text(config.read_text().replace('trainable = "prompt"', 'trainable = "full"'))
        for folder, clients, message in [
            (tmp_path / "nowhere", "3", "no run in"),
            (other, "3", "is one of ensemble"),
            (whole, "3", "is one of sfprompt with trainable=full"),
            (unfinished, "3", "is not finished; go on with fedbbpt train --resume"),
            (run, "0", "--clients wants numbers"),
            (run, "21", "21 clients cannot share the 10 training examples"),
        ]:
            result = fedbbpt("figures", folder, "--clients", clients)
            assert result.exit_code == 1
            assert message in result.output
            assert not (folder / "figures").exists()

    def test_without_scikit_learn_the_extra_is_named(self, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "sklearn.manifold", None)
        result = fedbbpt("figures", trained)
        assert result.exit_code == 1
        assert "pip install 'fedbbpt[local]'" in result.output
