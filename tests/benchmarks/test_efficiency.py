"""What is read off the curves of several benches."""

import pytest

from fedbbpt.errors import RunError
from fedbbpt_benchmarks.experiments import efficiency
from fedbbpt_benchmarks.experiments.efficiency import Point, Run


def run(method="ours", task="digits", seed=1, test=0.8, losses=((100, 2.0), (500, 1.0)), last=1.0, **baselines):
    path = [Point(queries, loss, 0.5) for queries, loss in losses]
    return Run(task, method, seed, test, baselines.get("zero_shot", 0.7), baselines.get("alone", 0.75), path, last)


def test_a_run_that_stops_early_keeps_what_it_had():
    one = run()
    assert [one.at(queries).loss for queries in (0, 100, 499, 500, 9000)] == [2.0, 2.0, 2.0, 1.0, 1.0]


def test_methods_are_compared_on_what_all_of_them_have():
    runs = [run(), run(seed=2), run("theirs"), run("theirs", task="mnist")]
    assert {(r.method, r.task, r.seed) for r in efficiency.shared(runs)} == {
        ("ours", "digits", 1),
        ("theirs", "digits", 1),
    }


def test_nothing_in_common_is_said():
    with pytest.raises(RunError, match="no task and seed"):
        efficiency.shared([run(), run("theirs", seed=2)])


def test_zero_shot_is_beaten_by_task_over_the_seeds():
    runs = [run(test=0.9), run(seed=2, test=0.6), run(task="mnist", test=0.5)]
    assert efficiency._above_zero_shot(runs) == "1 of 2"


def test_gain_is_that_of_the_tasks_with_its_error():
    runs = [run(test=0.77), run(seed=2, test=0.79), run(task="mnist", test=0.80)]
    assert efficiency._gain(runs) == "+4.0 ± 1.0"  # 3 and 5 points
    assert efficiency._gain([run(alone=None)]) == "–"


def test_runs_that_end_above_their_start_are_counted():
    runs = [run(last=2.5), run(seed=2, last=0.5)]
    assert efficiency._above_start(runs) == "0 / 1 of 2"


def test_share_of_queries_is_to_the_first_loss_as_good_as_the_rivals_last():
    rivals = [run("theirs", losses=((100, 2.0), (1000, 1.5))), run("theirs", task="mnist", losses=((400, 0.1),))]
    ours = [run(), run(task="mnist")]
    assert efficiency._share(ours, rivals) == "0.50 (most 0.50, never in 1)"


def test_curves_are_a_picture_of_their_own():
    drawn = efficiency.curves([run(), run("theirs")], ["ours", "theirs"], 1000)
    assert drawn.startswith("<svg")
    assert 'xmlns="http://www.w3.org/2000/svg"' in drawn
    assert drawn.count('class="line m') == 4  # two in the legend


def test_what_was_read_can_be_kept_and_read_again(tmp_path):
    runs = [run(), run(seed=2, zero_shot=None)]
    efficiency.write_rows(tmp_path / "runs.jsonl", [one._asdict() for one in runs])
    assert efficiency.read(tmp_path / "runs.jsonl") == runs
