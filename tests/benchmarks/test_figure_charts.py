"""The charts of `fedbbpt figures`."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest

from fedbbpt.run.report.charts import Series
from fedbbpt.run.report.intervals import wilson_interval
from fedbbpt_benchmarks.figures import charts


class Marks(HTMLParser):
    """The tags of a drawing, which are balanced, and its texts."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(markup)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def numbers(self, tag: str, name: str) -> list[float]:
        return [float(attributes[name] or "") for t, attributes in self.tags if t == tag and name in attributes]


class TestCharts:
    def test_accuracies_stand_with_their_intervals_at_their_clients(self) -> None:
        lines = [Series("<full>", "sfl-full", [(5, 0.2), (100, 0.9)]), Series("linear", "sfl-linear", [(20, 0.5)])]
        marks = Marks(charts.by_clients([5, 20, 100], lines, 50))
        low, high = wilson_interval(0.2, 50)
        assert f"<full>, 5 clients: 20.0% ({low:.1%} to {high:.1%})" in marks.texts
        assert {"5", "20", "100", "clients"} <= {*marks.texts}
        (few, many, one), heights = marks.numbers("circle", "cx"), marks.numbers("circle", "cy")
        assert few < one < many
        assert heights[0] > heights[2] > heights[1]

    @pytest.mark.parametrize("points", [[], [(3, 0.0)], [(3, 1.0)]])
    def test_one_number_of_clients_is_enough(self, points: list[tuple[float, float]]) -> None:
        marks = Marks(charts.by_clients([3], [Series("a", "b", points)], 1))
        assert len(marks.numbers("circle", "cx")) == len(points)

    def test_areas_of_bubbles_are_counts(self) -> None:
        marks = Marks(charts.bubbles("title", [[4, 0], [1, 2]], ["client-000", "client-001"], ["<a>", "b"]))
        assert [text for text in marks.texts if ":" in text] == [
            "client-000, <a>: 4",
            "client-001, <a>: 1",
            "client-001, b: 2",
        ]
        radii = np.array(marks.numbers("circle", "r"))
        np.testing.assert_allclose(radii**2 / radii[0] ** 2, [1, 0.25, 0.5], atol=0.02)

    def test_bubbles_of_many_clients_and_classes_stay_on_the_sheet(self) -> None:
        counts = np.eye(200, dtype=int).tolist()
        names = [f"class {i}" for i in range(200)]
        markup = charts.bubbles("title", counts, [f"client-{i:03d}" for i in range(200)], names)
        marks = Marks(markup)
        _, _, width, height = map(float, (marks.tags[0][1]["viewbox"] or "").split())
        assert max(marks.numbers("circle", "cx")) < width <= charts.WIDEST + 100
        assert max(marks.numbers("circle", "cy")) < height
        assert "class 0" not in marks.texts

    def test_points_keep_to_their_square_and_class(self) -> None:
        points = np.array([[-500.0, 2], [3, 4], [700, -90]], np.float32)
        markup = charts.scatter("<title>", "5 nearest: 1 %", points, [1, 0, 1], ["a", "b&c"])
        marks = Marks(markup)
        assert "<title>" in marks.texts
        assert markup.count("<g fill=") == 2
        assert re.findall("<title>(.*?)</title>", markup) == ["a", "b&amp;c"]
        assert 0 < min(marks.numbers("circle", "cx")) < max(marks.numbers("circle", "cx")) < charts.SIDE

    def test_points_at_one_place_are_drawn(self) -> None:
        Marks(charts.scatter("a", "b", np.zeros((3, 2), np.float32), [0, 0, 0], ["c"]))
