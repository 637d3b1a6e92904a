"""What a run without a server leaves in its folder."""

import json

import pytest

import fedbbpt
from fedbbpt.errors import RunError
from fedbbpt.prompts.none import NoPrompt
from fedbbpt.readouts.linear import LinearReadout
from fedbbpt.run import checkpoint
from fedbbpt.run.query_budget import plan_queries
from fedbbpt.run.report.graph_chart import graph_chart
from fedbbpt.testing import toy_client
from fedbbpt.testing.expect import same_bits

HEAD = (NoPrompt, LinearReadout)


@pytest.fixture
def clients():
    return [toy_client(f"client-{i:03d}", 5 + i, i) for i in range(6)]


@pytest.fixture
def page(tmp_path):
    """`page()`: the report of the last run."""
    return lambda: (tmp_path / "run" / "report.html").read_text("utf-8")


def rows(tmp_path):
    return [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text("utf-8").splitlines()]


def test_gossip_says_how_far_nodes_are_apart_and_how_good_their_mean_is(run, page, tmp_path):
    algorithm = {"name": "gossip", "topology": "ring", "gossip_steps": 2}
    summary = run(algorithm=algorithm, tuned=HEAD, rounds=3, data={"clients": 6})
    nodes = summary["nodes"]
    assert (nodes["topology"], nodes["gossip_steps"]) == ("ring", 2)
    assert nodes["links"] == [[0, 1], [0, 5], [1, 2], [2, 3], [3, 4], [4, 5]]
    assert nodes["contraction"] == pytest.approx(2 / 3)
    assert 0 <= nodes["mean_accuracy"] <= 1
    told = [row["consensus_distance"] for row in rows(tmp_path) if "consensus_distance" in row]
    assert len(told) == 3
    assert nodes["consensus_distance"] == told[-1] > 0
    sharpness = nodes["sharpness"]
    assert sharpness.keys() == {"rho", "random", "adversarial"}
    assert sharpness["rho"] == 0.05
    assert 0 < sharpness["random"] < sharpness["adversarial"]
    between = sum(row.get("bytes_between", 0) for row in rows(tmp_path))
    assert nodes["bytes_per_link"] == round(between / 6)
    report = page()
    assert "<h2>Nodes and links</h2>" in report
    assert report.count('class="node"') == 6
    assert "λ = 0.667" in report
    assert f"by {sharpness['adversarial']:.2g} uphill, on average over the nodes" in " ".join(report.split())
    assert "Distance of the nodes to their mean" in report


@pytest.mark.parametrize("rounds", [0, 3])
def test_the_sharpness_of_prompts_is_asked_for_if_it_is_wanted(run, page, rounds, tmp_path):
    settings = {"rounds": rounds, "data": {"clients": 6}}
    algorithm = {"name": "gossip", "topology": "ring"}
    plain = run(algorithm=algorithm, folder=tmp_path / "plain", **settings)
    summary = run(algorithm=algorithm | {"measure_sharpness": True}, **settings)
    found = summary["nodes"]["prompt_sharpness"]
    assert found.keys() == {"rho", "random", "adversarial"}
    assert f"by {found['adversarial']:.2g} along an estimate" in " ".join(page().split())
    assert plain["nodes"]["prompt_sharpness"] is None
    asked = {name: one["queries_by_purpose"]["test"] for name, one in (("plain", plain), ("measured", summary))}
    trained = sum(len(client.train) for client in run.experiment.clients)
    assert asked["measured"] - asked["plain"] == 12 * trained
    assert summary["queries"] == sum(sum(backend.calls) for backend in run.backends[1:])
    assert summary["queries"] == plan_queries(run.experiment).total.queries
    assert summary["test_accuracy"] == plain["test_accuracy"]  # nothing else changes


def test_without_a_round_that_was_kept_there_is_no_sharpness(run, page):
    summary = run(algorithm={"name": "gossip"}, tuned=HEAD, rounds=0, data={"clients": 3})
    assert summary["nodes"]["sharpness"] is None
    assert "uphill" not in page()


def test_compressed_letters_are_named_and_shorter(run, page, tmp_path):
    algorithm = {"name": "gossip", "topology": "ring"}
    data = {"clients": 6}
    whole = run(algorithm=algorithm, rounds=3, data=data, folder=tmp_path / "whole")["nodes"]
    nodes = run(algorithm=algorithm | {"compression": "int8"}, rounds=3, data=data)["nodes"]
    assert (whole["compression"], nodes["compression"]) == ("none", "int8")
    assert "by more where they are compressed (int8)" in " ".join(page().split())


def test_a_flood_says_how_wide_the_graph_is(run, page):
    algorithm = {"name": "flood", "topology": "star"}
    summary = run(algorithm=algorithm, tuned=HEAD, rounds=1, data={"clients": 6})
    nodes = summary["nodes"]
    assert (nodes["hops"], len(nodes["links"])) == (2, 5)
    assert nodes["bytes_per_link"] > 0
    assert "mean_accuracy" not in nodes
    assert "over at most 2 links" in page()


def test_a_flood_ends_as_a_server_does(run, tmp_path):
    server = run(algorithm={"name": "fedavg"}, rounds=2, folder=tmp_path / "server", data={"clients": 6})
    flood = run(algorithm={"name": "flood"}, rounds=2, folder=tmp_path / "flood", data={"clients": 6})
    for what in ("test_accuracy", "validation_accuracy", "best_round", "queries", "confusion"):
        assert flood[what] == server[what]


def test_until_a_flood_is_over_its_nodes_alone_have_the_parameters(run, make_watch, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(algorithm={"name": "flood"}, rounds=3, callback=make_watch(2))
    with pytest.raises(RunError, match=r"keep the parameters until its rounds are over: finish it .--resume."):
        fedbbpt.load(tmp_path / "run")
    run(algorithm={"name": "flood"}, rounds=3)
    whole = run(algorithm={"name": "fedavg"}, rounds=3, folder=tmp_path / "server")
    best = [checkpoint.load_best(folder)[1] for folder in (tmp_path / "run", tmp_path / "server")]
    assert whole["best_round"] > 0
    assert same_bits(best[0].parameters, best[1].parameters)


def test_with_a_server_there_are_no_nodes(run, page):
    assert "nodes" not in run(tuned=HEAD, rounds=1)
    assert "Nodes and links" not in page()


@pytest.mark.parametrize("count", [1, 2, 30, 150])
def test_any_number_of_nodes_is_drawn(count):
    chart = graph_chart([[i, i + 1] for i in range(count - 1)], [(f"site <{i}>", i / count) for i in range(count)])
    assert chart.count('class="node"') == count
    assert "site &lt;0&gt;" in chart
    assert "nan" not in chart


def test_nodes_without_a_score_are_drawn_empty():
    chart = graph_chart([[0, 1]], [("a", None), ("b", 0.5)])
    assert 'fill-opacity="0"' in chart
