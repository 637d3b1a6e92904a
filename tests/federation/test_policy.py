"""What a site allows: read from its own file, checked before a run and at every query."""

from pathlib import Path

import numpy as np
import pytest

from fedbbpt.config import Config, make_config
from fedbbpt.errors import ConfigError, PolicyError
from fedbbpt.federation.policy import Policy, QueryGuard
from fedbbpt.services.ledger import Budget
from fedbbpt.testing import ToyBackend
from fedbbpt.types import Usage

FULL = """
max_queries = 1000
max_requests = 100
max_cost = 2.5
max_rounds = 20
algorithms = ["fedavg", "ensemble"]
share_words = true
share_activations = true
"""


@pytest.fixture
def config() -> Config:
    return make_config({"rounds": 7})


def read(tmp_path: Path, text: str) -> Policy:
    (tmp_path / "policy.toml").write_text(text)
    return Policy.read(tmp_path / "policy.toml")


def test_a_policy_is_read_from_a_file(tmp_path: Path) -> None:
    policy = read(tmp_path, FULL)
    assert policy == Policy(
        max_queries=1000,
        max_requests=100,
        max_cost=2.5,
        max_rounds=20,
        algorithms=("fedavg", "ensemble"),
        share_words=True,
        share_activations=True,
    )
    assert policy.budget == Budget(1000, 100, 2_500_000_000)


def test_without_a_word_all_is_allowed_except_words_and_activations(tmp_path: Path, config: Config) -> None:
    policy = read(tmp_path, "")
    assert policy.budget == Budget()
    policy.check(config, Usage(10**12, 10**12))
    with pytest.raises(PolicyError, match=r"share_words = false, and the job asks for the counts of the words"):
        policy.check_shares_words()
    read(tmp_path, "share_words = true").check_shares_words()
    split = make_config({"backend": {"name": "local-vit"}, "algorithm": {"name": "sfprompt"}})
    with pytest.raises(PolicyError, match=r"share_activations = false, and the job asks for activations and gradients"):
        policy.check(split, Usage())
    read(tmp_path, "share_activations = true").check(split, Usage())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max_query = 5", r"policy.toml is no policy of a site: unknown setting of policy 'max_query'. Did you mean"),
        ("max_queries = 0", r"policy.max_queries: input should be greater than 0, got 0"),
        ("max_queries = '5'", r"policy.max_queries: input should be a valid integer, got '5'"),
        ("max_queries = 5.0", r"policy.max_queries: input should be a valid integer"),
        ("max_cost = -1", r"policy.max_cost: input should be greater than 0"),
        ("max_cost = nan", r"policy.max_cost: input should be"),
        ("max_rounds = true", r"policy.max_rounds: input should be a valid integer"),
        ("share_words = 'yes'", r"policy.share_words: input should be a valid boolean"),
        ("algorithms = 'fedavg'", r"policy.algorithms: input should be a valid tuple"),
        ("algorithms = ['fedavgg']", r"unknown algorithm of policy.algorithms 'fedavgg'. Did you mean 'fedavg'"),
        ("max_queries", r"policy.toml is not TOML"),
    ],
)
def test_what_is_no_policy_is_refused(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        read(tmp_path, text)


def test_a_missing_policy_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read .*gone.toml: no such file"):
        Policy.read(tmp_path / "gone.toml")


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (Policy(max_rounds=6), "max_rounds = 6, and the job asks for 7 rounds"),
        (Policy(max_queries=1_999), "max_queries = 1,999, and the job asks for 2,000 queries"),
        (Policy(max_requests=99), "max_requests = 99, and the job asks for 100 requests"),
        (
            Policy(algorithms=("fedavg", "local")),
            "algorithms = fedavg, local, and the job asks for algorithm ensemble",
        ),
        (Policy(algorithms=()), "algorithms = none, and the job asks for algorithm ensemble"),
    ],
)
def test_a_job_that_asks_for_more_is_refused_in_a_sentence(policy: Policy, message: str, config: Config) -> None:
    with pytest.raises(PolicyError, match=f"^this site's policy has {message}; the site's operator can change that$"):
        policy.check(config, Usage(2_000, 100))


def test_a_job_within_all_limits_is_allowed(config: Config) -> None:
    policy = Policy(max_queries=2_000, max_requests=100, max_rounds=7, algorithms=("ensemble",))
    policy.check(config, Usage(2_000, 100))


def test_no_query_above_the_limit_is_asked_whatever_was_planned() -> None:
    toy, asked = ToyBackend(), []
    ask = toy.query
    toy.query = lambda inputs: asked.append(len(inputs)) or ask(inputs)  # type: ignore[method-assign,func-returns-value]
    guard = QueryGuard(Policy(max_queries=10), queries=3)
    backend, images = guard.guarded(toy), np.zeros((4, 3, 8, 8), np.float32)
    assert backend.info is toy.info
    assert np.array_equal(backend.query(images).scores, ask(images).scores)
    with pytest.raises(PolicyError, match="max_queries = 10, and the job asks for 11 queries, more than it planned"):
        backend.query(images)
    backend.query(images[:3])
    assert asked == [4, 3]
    assert guard.queries == 10
    with pytest.raises(PolicyError, match="asks for 11 queries"):
        backend.query(images[:1])
    assert asked == [4, 3]


def test_without_a_limit_queries_are_only_counted() -> None:
    guard = QueryGuard(Policy())
    guard.guarded(ToyBackend()).query(np.zeros((5, 3, 8, 8), np.float32))
    assert guard.queries == 5
