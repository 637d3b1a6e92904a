"""The charts of a report: points with their values, and the ticks of axes."""

from fedbbpt.run.report import charts


def test_ticks_are_round_and_enclose():
    assert charts.ticks([0, 15], whole=True) == [0, 5, 10, 15]
    assert charts.ticks([0, 1], whole=True) == [0, 1]
    assert charts.ticks([40, 77.5]) == [40, 50, 60, 70, 80]
    assert charts.ticks([100, 100]) == [80, 100]
    assert charts.ticks([]) == [0, 0.2]
    cases = ((0.25, 0.05), (3, 1), (900, 100), (15000, 5000), (0, 5e6), (2e6, 1e6))
    assert [charts.tick_label(*case) for case in cases] == ["0.25", "3", "900", "15k", "0", "2M"]


def test_points_tell_their_value_and_rounds_their_queries(make_page):
    line = charts.Series("validation", "validation", [(0, 50), (10, 75)], ["round 0: half", "round 10: more"])
    page = make_page(charts.line_chart("Accuracy", "round", [line], under={0: "40", 10: "9,000"}))
    assert {"round 0: half", "round 10: more", "40", "9,000"} <= {*page.texts}
    plain = make_page(charts.line_chart("Accuracy", "round", [line._replace(tips=())]))
    assert "validation, round 10: 75" in plain.texts
    assert "9,000" not in plain.texts
