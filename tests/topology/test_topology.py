"""Graphs, mixing matrices and how fast they bring nodes together."""

import math

import networkx as nx
import numpy as np
import pytest

from fedbbpt.errors import ConfigError, UnknownName
from fedbbpt.topology import NAMES, contraction, make

STATIC = ["ring", "torus", "exponential", "star", "complete", "random-regular:4", "erdos-renyi:0.4"]
CHANGING = ["matching", "one-peer-exponential"]
SIZES = [7, 16, 30]


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def apart(x):
    """The distance of the nodes to their mean."""
    return np.linalg.norm(x - x.mean(0))


@pytest.mark.parametrize("nodes", SIZES)
@pytest.mark.parametrize("name", [*STATIC, *CHANGING])
def test_mixing_is_doubly_stochastic_along_the_links(name, nodes):
    topology = make(name, nodes)
    for round_ in range(6):
        w = topology.mixing(round_).toarray()
        assert (w >= 0).all()
        assert np.allclose(w.sum(0), 1, atol=1e-12)
        assert np.allclose(w.sum(1), 1, atol=1e-12)
        links = {(j, i) for i, j in topology.graph(round_).edges()}
        links |= set() if topology.graph(round_).is_directed() else {(j, i) for i, j in links}
        assert {(int(i), int(j)) for i, j in zip(*np.nonzero(w), strict=True) if i != j} == links


@pytest.mark.parametrize("nodes", SIZES)
@pytest.mark.parametrize("name", [*STATIC, *CHANGING])
def test_mixing_keeps_the_mean(name, nodes, rng):
    topology, x = make(name, nodes), rng.normal(size=(nodes, 5))
    mean = x.mean(0)
    for round_ in range(20):
        x = topology.mixing(round_) @ x
    assert np.allclose(x.mean(0), mean, atol=1e-12)


@pytest.mark.parametrize("nodes", SIZES)
@pytest.mark.parametrize("name", STATIC)
def test_each_mixing_contracts_by_lambda_at_worst_and_some_start_reaches_it(name, nodes, rng):
    topology = make(name, nodes)
    w, factor = topology.mixing(0).toarray(), contraction(topology)
    for x in rng.normal(size=(10, nodes, 3)):
        for steps in (1, 2, 4):
            assert apart(np.linalg.matrix_power(w, steps) @ x) <= factor**steps * apart(x) + 1e-12
    values, vectors = np.linalg.eigh(w - 1 / nodes)
    worst = vectors[:, np.argmax(np.abs(values))]
    assert apart(w @ worst) == pytest.approx(factor * apart(worst), abs=1e-12)


@pytest.mark.parametrize(
    ("name", "nodes", "expected"),
    [
        ("complete", 9, 0.0),
        ("ring", 16, 1 / 3 + 2 / 3 * math.cos(2 * math.pi / 16)),
        ("ring", 2000, 1 / 3 + 2 / 3 * math.cos(2 * math.pi / 2000)),  # whose eigenvalues crowd at 1
        ("torus", 16, 0.6),
        ("torus", 1024, 1 / 5 + 2 / 5 + 2 / 5 * math.cos(2 * math.pi / 32)),
        ("star", 16, 1 - 1 / 16),
        ("one-peer-exponential", 16, 0.0),  # exact after four rounds
        ("ring", 1, 0.0),
    ],
)
def test_lambda_is_that_of_the_formula(name, nodes, expected):
    assert contraction(make(name, nodes)) == pytest.approx(expected, abs=1e-9)


def test_one_peer_exponential_averages_exactly_in_log_n_rounds(rng):
    topology, x = make("one-peer-exponential", 32), rng.normal(size=(32, 2))
    for round_ in range(5, 10):
        x = topology.mixing(round_) @ x
    assert apart(x) < 1e-12


def test_random_pairs_meet_in_the_long_run(rng):
    topology, x = make("matching", 15), rng.normal(size=(15, 2))
    before = apart(x)
    for round_ in range(64):
        x = topology.mixing(round_) @ x
    assert apart(x) < 1e-3 * before
    assert 0.4 < contraction(topology) < 0.9


@pytest.mark.parametrize("name", [*STATIC, *CHANGING])
def test_missing_nodes_keep_theirs_and_the_others_their_mean(name, rng):
    topology, x = make(name, 16), rng.normal(size=(16, 3))
    present = [0, 1, 2, 5, 8, 9, 14, 15]
    for round_ in range(5):
        w = topology.mixing(round_, present).toarray()
        mixed = w @ x
        gone = [node for node in range(16) if node not in present]
        assert np.array_equal(mixed[gone], x[gone])
        assert np.allclose(mixed[present].mean(0), x[present].mean(0), atol=1e-12)
        assert np.allclose(w.sum(0), 1)
        assert (w >= 0).all()


@pytest.mark.parametrize("name", [*STATIC, *CHANGING])
def test_lost_links_and_missing_nodes_are_left_out_and_the_mean_stays(name, rng):
    topology, x = make(name, 16), rng.normal(size=(16, 3))
    present = [node for node in range(16) if node not in (2, 9)]
    for round_ in range(8):
        w = topology.mixing(round_, present)
        linked = [(int(i), int(j)) for i, j in zip(*w.nonzero(), strict=True) if i != j]
        lost = [linked[k] for k in rng.choice(len(linked), 3)]
        w = topology.mixing(round_, present, lost).toarray()
        assert all(w[i, j] == w[j, i] == 0 for i, j in lost)
        assert (w >= 0).all()
        assert np.allclose(w.sum(0), 1, atol=1e-12)
        assert np.allclose(w.sum(1), 1, atol=1e-12)
        assert np.allclose((w @ x).mean(0), x.mean(0), atol=1e-12)
        assert w[2, 2] == w[9, 9] == 1


def test_with_a_lost_link_the_others_of_its_cycle_keep_what_they_have():
    w = make("one-peer-exponential", 8).mixing(1, lost=[(2, 0)]).toarray()  # 0 → 2 → 4 → 6 → 0, and the odd ones
    assert np.diag(w).tolist() == [1, 0.5] * 4


def test_nobody_left_but_one():
    for name in (*STATIC, *CHANGING):
        assert np.array_equal(make(name, 16).mixing(3, [7]).toarray(), np.eye(16))


@pytest.mark.parametrize("name", ["random-regular:4", "erdos-renyi:0.3", "matching"])
def test_random_ones_follow_from_the_seed(name):
    drawn = [make(name, 20, seed).mixing(2).toarray() for seed in (1, 1, 2)]
    assert np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])


@pytest.mark.parametrize("name", [*(name for name in STATIC if name != "complete"), *CHANGING])
def test_ten_thousand_nodes_stay_sparse(name):
    name = "erdos-renyi:0.002" if name.startswith("erdos") else name
    mixing = make(name, 10_000).mixing(0)
    assert mixing.nnz < 400_000
    assert np.allclose(mixing.sum(0), 1)


@pytest.mark.parametrize("nodes", [1, 2, 3])
def test_few_nodes_will_do(nodes):
    for name in NAMES:
        if ":" not in name and name not in ("random-regular", "erdos-renyi", "file"):
            assert make(name, nodes).mixing(0).shape == (nodes, nodes)


def test_a_file_lists_links(tmp_path):
    file = tmp_path / "links.txt"
    file.write_text("# a path\n0 1\n1,2\n\n2 3  # the end\n3 3\n")
    graph = make(f"file:{file}", 4).graph(0)
    assert nx.utils.graphs_equal(graph, nx.path_graph(4))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("0 1\n", "falls into parts that would never hear of each other"),
        ("0 9\n", "line 1: expected two nodes from 0 to 3, as in '0 1', got '0 9'"),
        ("0 1\none two\n", "line 2: expected two nodes"),
        ("0 1 2\n", "line 1: expected two nodes"),
    ],
)
def test_a_file_that_is_none_says_where(tmp_path, content, message):
    file = tmp_path / "links.txt"
    file.write_text(content)
    with pytest.raises(ConfigError, match=message):
        make(f"file:{file}", 4)


def test_a_missing_file_is_one_sentence(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        make(f"file:{tmp_path / 'none'}", 4)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("random-regular", "write random-regular:4"),
        ("file", "write file:PATH"),
        ("ring:4", "write ring alone"),
        ("random-regular:three", "expected a number, as in 'random-regular:4'"),
        ("random-regular:16", "each of 16 nodes cannot have 16 links"),
        ("random-regular:0", "each of 16 nodes cannot have 0 links"),
        ("erdos-renyi:2", "a probability is above 0 and at most 1"),
        ("erdos-renyi:nan", "a probability is above 0 and at most 1"),
        ("erdos-renyi:0.01", "none of 100 graphs of 16 nodes was connected"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(name, message):
    with pytest.raises(ConfigError, match=message):
        make(name, 16)


def test_an_unknown_name_finds_the_nearest():
    with pytest.raises(UnknownName, match=r"unknown topology 'rign'\. Did you mean 'ring'"):
        make("rign", 4)
