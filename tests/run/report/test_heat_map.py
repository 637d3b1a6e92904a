"""Confusion matrices."""

from fedbbpt.run.report import charts
from fedbbpt.run.report.heat_map import heat_map


def test_up_to_thirty_classes_have_names_and_colours(make_page):
    page = make_page(heat_map("map", [[2, 1], [0, 3]], ["a name far too long", "b"]))
    assert page.texts.count("a name far …") == 2
    assert "a name far too long taken for b: 1 of 3 (33%)" in page.texts
    assert len({charts.class_colour(i) for i in range(31)}) == 30
