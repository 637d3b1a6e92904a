"""The searches in a plane that docs/estimators.md shows: how they are confined, stored and drawn."""

import base64
import io
import json
import re
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from fedbbpt.algorithms.fedavg import FedAvg
from fedbbpt.prompts.affine import Affine
from fedbbpt.testing.toy import Toy
from fedbbpt_benchmarks.experiments.box import OpenBox
from fedbbpt_benchmarks.experiments.boxes import ours
from fedbbpt_benchmarks.experiments.estimators import __main__ as command
from fedbbpt_benchmarks.experiments.estimators.arrows import arrow, cosine, draw_slopes
from fedbbpt_benchmarks.experiments.estimators.paths import COLOURS, bands, draw_paths
from fedbbpt_benchmarks.experiments.estimators.plane import BUDGET, Landscape, Plane, Run, contrast_and_size
from fedbbpt_benchmarks.experiments.estimators.slopes import Slopes

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"
ROWS = [json.loads(line) for line in (RESULTS / "estimators.jsonl").read_text("utf-8").splitlines()]
FOUND = Slopes((-0.1, -0.2), [(30, -0.3, 0.1), (10, 0.5, -0.5)], (-0.2, -0.1))


def landscape() -> Landscape:
    """Low at the lower left, high at the upper right."""
    x, y = np.linspace(-2, 2, 5), np.linspace(-1, 2, 4)
    return Landscape(x.tolist(), y.tolist(), (0.1 * np.exp(0.9 * (x[None] + y[:, None] + 3))).tolist())


def search(method: str = "SPSA-GC", seed: int = 1, loss: float = 0.5) -> Run:
    return Run(method, seed, [(0, 0.0, 0.0), (40, 0.5, 1.0)], [(0.1, 0.2), (1.0, -1.0), (0.0, 9.0)], loss)


def elements(drawing: str, tag: str, style: str) -> list[ElementTree.Element]:
    """The elements of a tag within a group, or with a class, of this style."""
    space = "{http://www.w3.org/2000/svg}"
    root = ElementTree.fromstring(drawing)
    inside = [one for group in root.iter(f"{space}g") if group.get("class") == style for one in group.iter(space + tag)]
    return inside + [one for one in root.iter(space + tag) if one.get("class") == style]


class TestPlane:
    def test_a_point_is_contrast_and_size_of_the_prompt_inside(self) -> None:
        inner, image = Affine((8, 8)), np.random.default_rng(0).random((1, 3, 8, 8), np.float32)
        theta = np.zeros((1, 13))
        theta[0, 12], theta[0, 6], theta[0, 9] = 3, 2, 2
        plane = Plane(inner, contrast_and_size())
        prompted = plane.apply(np.array([[3.0, 2.0]]), image, None)
        np.testing.assert_array_equal(prompted, inner.apply(theta, image, None))

    def test_points_are_noted_once(self) -> None:
        plane, image = Plane(Affine((8, 8)), contrast_and_size()), np.zeros((1, 3, 8, 8), np.float32)
        plane.apply(np.array([[1.0, 2.0], [0.0, 1.0]]), image, None)
        plane.apply(np.array([[1.0, 2.0]]), image, None)
        assert list(plane.asked) == [(1.0, 2.0), (0.0, 1.0)]

    def test_rounds_end_within_the_budget(self) -> None:
        toy = Toy()
        simulation = SimpleNamespace(algorithm=FedAvg(toy.context()), objective=toy.objective, clients=toy.clients)
        cost = 2 * (4 + 7 + 12)  # both sides of one direction, all examples
        path = ours(OpenBox(simulation), 3 * cost + cost - 1)
        assert [spent for spent, _ in path] == [0, cost, 2 * cost, 3 * cost]


class TestPaths:
    def test_pale_is_low_and_the_picture_stands_upright(self) -> None:
        picture = Image.open(io.BytesIO(base64.b64decode(bands(landscape()).partition(",")[2]))).convert("RGB")
        right, top = picture.width - 1, 0
        colours = ["{:02x}{:02x}{:02x}".format(*picture.getpixel(at)) for at in ((0, picture.height - 1), (right, top))]
        assert colours == [COLOURS[0], COLOURS[-1]]

    def test_every_candidate_and_round_is_drawn_in_its_panel(self) -> None:
        drawing = draw_paths(landscape(), [search(), search("<CMA>", loss=0.25)])
        assert len(elements(drawing, "circle", "asked")) == 2 * 3
        places = [(one.get("cx"), one.get("cy")) for one in elements(drawing, "circle", "after")][:2]
        assert places == [("190.0", "190.0"), ("237.5", "95.0")]  # of 380 × 285 pixels
        assert "&lt;CMA&gt;" in drawing
        assert "loss 0.250 after 40 queries" in drawing

    def test_axes_are_named_once_a_row_and_a_column(self) -> None:
        drawing = draw_paths(landscape(), [search()] * 4)
        assert drawing.count("contrast (higher →)") == drawing.count("size (smaller →)") == 2


class TestArrows:
    def test_the_mean_weighs_clients_by_their_images(self) -> None:
        drawing = draw_slopes(FOUND)
        mean = [0.75 * -0.3 + 0.25 * 0.5, 0.75 * 0.1 + 0.25 * -0.5]
        assert f"80 queries; cosine {cosine(mean, FOUND.true):.2f}" in drawing
        assert len(elements(drawing, "path", "client")) == 2 * (2 + 1)  # shaft and head; one in the legend

    def test_the_tip_is_where_the_arrow_points(self) -> None:
        assert "L30.0 40.0L" in arrow(30, 40, "true")

    def test_cosine(self) -> None:
        assert cosine([1, 0], [2, 2]) == pytest.approx(0.5**0.5)


class TestStoredNumbers:
    @pytest.mark.parametrize("name", ["estimators-paths.svg", "estimators-slopes.svg"])
    def test_the_committed_pictures_are_those_of_the_committed_numbers(self, name: str) -> None:
        def vectors(drawing: str) -> str:
            return re.sub('href="data:[^"]*"', "", drawing)  # the bytes of a PNG depend on the library's version

        assert vectors((RESULTS / name).read_text("utf-8")) == vectors(command.drawings(ROWS)[name])

    def test_all_searches_start_alike_and_keep_to_the_budget(self) -> None:
        runs = command.searches(ROWS)
        assert all(run.path[0] == [0, 0, 0] for run in runs)
        assert all(0.9 * BUDGET < run.path[-1][0] <= BUDGET for run in runs)

    def test_nothing_is_missing(self) -> None:
        assert not list(command.missing(ROWS))

    def test_only_what_is_missing_is_measured(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        asked: list[tuple[str, int]] = []
        monkeypatch.setattr(command, "landscape", lambda x, y: landscape())
        monkeypatch.setattr(command, "slopes", lambda: FOUND)
        monkeypatch.setattr(command, "run", lambda *cell: asked.append(cell) or search(*cell))
        for _ in range(2):
            result = CliRunner().invoke(command.main, [str(tmp_path)], catch_exceptions=False)
        assert sorted(asked) == sorted((method, seed) for method in command.METHODS for seed in command.SEEDS)
        assert "| SPSA-GC | 0.500 ± 0.000 |" in result.output
        assert {path.name for path in tmp_path.iterdir()} == {"estimators.jsonl", *command.drawings(ROWS)}
