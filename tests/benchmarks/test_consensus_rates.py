"""The curves of docs/without-a-server.md: the problems' minima, the steps, the stored numbers and the picture."""

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from click.testing import CliRunner

from fedbbpt.topology import make
from fedbbpt_benchmarks.experiments.consensus_rates import __main__ as command
from fedbbpt_benchmarks.experiments.consensus_rates import quadratic, softmax
from fedbbpt_benchmarks.experiments.consensus_rates.chart import draw
from fedbbpt_benchmarks.experiments.consensus_rates.curves import NODES, WAYS, Curve, Point, Way, found, terms

STORED = Path(__file__).parents[2] / "benchmarks" / "results" / "consensus-rates.jsonl"
CURVES = command.read(STORED)
SAM_ON_A_RING = Way("ring", 2, True)


class TestTerms:
    def test_third_term_is_that_of_one_averaging_or_of_several(self) -> None:
        assert terms(4, 0.9, 1).topology == pytest.approx(1 / (5**0.5 * 8 * 0.1**2))
        assert terms(4, 0.81, 2).topology == pytest.approx(1.81 / (5**0.5 * 8 * 0.19**2))

    def test_others_do_not_depend_on_the_topology(self) -> None:
        assert terms(20, 0.0, 1)[:2] == terms(20, 0.9, 4)[:2] == (0.1, 0.05)

    def test_averaging_often_leaves_a_power_of_the_distances(self) -> None:
        assert Way("ring", 4, False).mixed == pytest.approx(0.9493**4, abs=1e-3)
        assert Way("complete", 1, False).mixed == pytest.approx(0, abs=1e-12)


class TestQuadratic:
    def test_all_slopes_together_vanish_at_the_minimum(self) -> None:
        problem = quadratic.Quadratics()
        slopes = problem.gradients(np.tile(problem.minimum, (NODES, 1)))
        assert np.linalg.norm(slopes, axis=1).min() > 0.1  # nodes have minima of their own
        assert np.allclose(slopes.mean(0), 0, atol=1e-12)

    def test_a_run_is_that_of_a_naive_twin(self) -> None:
        rounds, problem, rng = 3, quadratic.Quadratics(), np.random.default_rng(0)
        w, step, rho = make("ring", NODES).mixing(0).toarray(), 1 / np.sqrt(5 * rounds), 0.5 / np.sqrt(rounds)
        x, gradients = np.zeros((4, NODES, 10)), []
        for _ in range(rounds):
            gradients.append(np.mean([np.sum((problem.curvature @ (y.mean(0) - problem.minimum)) ** 2) for y in x]))
            noise = 0.5 / np.sqrt(10) * rng.normal(size=(5, *x.shape))
            for k in range(5):
                for s in range(4):
                    for i in range(NODES):
                        a, b = problem.curvatures[i], problem.minima[i]
                        g = a @ (x[s, i] - b) + noise[k, s, i]
                        g = a @ (x[s, i] + rho * g / np.linalg.norm(g) - b) + noise[k, s, i]
                        x[s, i] = x[s, i] - step * g
            x = np.stack([w @ (w @ y) for y in x])
        away = [y.mean(0) - problem.minimum for y in x]
        point = quadratic.run(SAM_ON_A_RING, rounds)
        assert point.rounds == rounds
        assert point.gradient == pytest.approx(np.mean(gradients))
        assert point.distance == pytest.approx(np.mean([y @ y for y in away]))
        assert point.excess == pytest.approx(np.mean([y @ problem.curvature @ y / 2 for y in away]))
        apart = np.mean([((y - y.mean(0)) ** 2).sum(1).mean() for y in x])
        assert point.consensus_distance == pytest.approx(np.sqrt(apart))

    def test_stored_numbers_are_those_of_the_code(self) -> None:
        stored = found(CURVES, "quadratic", SAM_ON_A_RING).points
        assert [point.rounds for point in stored] == [*quadratic.ROUNDS]
        assert quadratic.run(SAM_ON_A_RING, 16) == pytest.approx(stored[0], rel=1e-9)


class TestSoftmax:
    def test_minimum_is_one(self) -> None:
        problem = softmax.regression()
        minimum = problem.minimum()
        assert np.abs(problem.loss(minimum)[1]).max() < 1e-8
        for direction in np.eye(len(minimum)):
            assert problem.loss(minimum + 0.1 * direction)[0] > problem.loss(minimum)[0]

    def test_nodes_that_weigh_unequally_have_another_minimum(self) -> None:
        assert 1e-5 < softmax.regression().bias_of_unequal_steps() < 1e-2

    def test_stored_numbers_are_those_of_the_code(self) -> None:
        curve, stored = softmax.curve(SAM_ON_A_RING, 3), found(CURVES, "softmax", SAM_ON_A_RING)
        for point, other in zip(curve.points, stored.points, strict=False):
            assert point == pytest.approx(other, rel=1e-4)

    def test_all_nodes_of_a_complete_graph_are_where_their_mean_is(self) -> None:
        curve = softmax.curve(Way("complete", 1, False), 3)
        assert [point.consensus_distance for point in curve.points] == pytest.approx([0, 0, 0], abs=1e-6)
        assert curve.points[0].excess > curve.points[1].excess > curve.points[2].excess > 0


class TestCommand:
    def test_a_curve_is_read_as_it_was_written(self) -> None:
        curve = Curve("quadratic", SAM_ON_A_RING, [Point(16, 0.1, 0.2, 0.3, 0.4), Point(64, 0.5, 0.6, 0.7, 0.8)])
        assert Curve.from_row(json.loads(json.dumps(curve.to_row()))) == curve

    def test_only_what_is_missing_is_measured(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        *stored, last = CURVES
        measured = []

        def again(way: Way) -> Curve:
            measured.append(way)
            return last

        monkeypatch.setattr(command, "PROBLEMS", {"quadratic": again, "softmax": again})
        file = tmp_path / STORED.name
        file.write_text("".join(json.dumps(curve.to_row()) + "\n" for curve in stored), "utf-8")
        result = CliRunner().invoke(command.main, [str(tmp_path)], catch_exceptions=False)
        assert measured == [WAYS[-1]]
        assert command.read(file) == CURVES
        assert result.output.strip() == command.table(CURVES)
        CliRunner().invoke(command.main, [str(tmp_path)], catch_exceptions=False)
        assert len(measured) == 1


def test_the_picture_has_each_curve_and_term_by_name() -> None:
    space = "{http://www.w3.org/2000/svg}"
    root = ElementTree.fromstring(draw(CURVES))
    titles = [title.text for title in root.iter(f"{space}title")]
    assert {"first term", "second term", "third term, ring", "ring, Q = 4", "softmax, torus, Q = 2"} <= {*titles}
    assert len([*root.iter(f"{space}circle")]) == 2 * 9
    assert "× 6.9" in "".join(root.itertext())
