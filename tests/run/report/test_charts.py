"""The charts of a report: heat maps and the ticks of axes."""

from fedbbpt.run.report import charts


def test_up_to_thirty_classes_have_names_and_colours(make_page):
    page = make_page(charts.heat_map("map", [[2, 1], [0, 3]], ["a name far too long", "b"]))
    assert page.texts.count("a name far …") == 2
    assert "a name far too long taken for b: 1 of 3 (33%)" in page.texts
    assert len({charts.class_colour(i) for i in range(31)}) == 30


def test_ticks_are_round_and_enclose():
    assert charts.ticks([0, 15], whole=True) == [0, 5, 10, 15]
    assert charts.ticks([0, 1], whole=True) == [0, 1]
    assert charts.ticks([40, 77.5]) == [40, 50, 60, 70, 80]
    assert charts.ticks([100, 100]) == [80, 100]
    assert charts.ticks([]) == [0, 0.2]
    cases = ((0.25, 0.05), (3, 1), (900, 100), (15000, 5000), (0, 5e6), (2e6, 1e6))
    assert [charts.tick_label(*case) for case in cases] == ["0.25", "3", "900", "15k", "0", "2M"]
