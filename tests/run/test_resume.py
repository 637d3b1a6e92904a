"""What `--resume` with options may change, and that everything else is refused."""

import pytest

from fedbbpt import registry
from fedbbpt.config import make_config
from fedbbpt.config.components import load_class
from fedbbpt.config.schema import ComponentConfig
from fedbbpt.errors import RunError
from fedbbpt.run import resume
from fedbbpt.run.resume import check_settings_unchanged, config_sha256, update_addresses, with_known_task_path

CUT = {"name": "sfprompt", "body_url": "http://here:8000"}


@pytest.mark.parametrize(
    ("ours", "asked", "said"),
    [
        (
            {"algorithm": {"name": "fedavg"}},
            {"algorithm": {"server_optimizer": "adam"}},
            "algorithm.server_optimizer is mean, not adam",
        ),
        (
            {"algorithm": {"name": "local"}},
            {"algorithm": {"server_optimizer": "adam"}},
            "algorithm.server_optimizer is mean, not adam",
        ),
        (
            {"algorithm": {"name": "gossip"}},
            {"algorithm": {"topology": "ring"}},
            "algorithm.topology is exponential, not ring",
        ),
        ({"algorithm": CUT}, {"algorithm": {"lr": 0.2}}, "algorithm.lr is 0.1, not 0.2"),
        ({"algorithm": {"name": "sfprompt"}}, {"algorithm": CUT}, "algorithm.body_url is None, not http://here:8000"),
        ({}, {"prompt": {"name": "dct"}}, "prompt.name is affine, not dct"),
        ({}, {"data": {"dirichlet_alpha": float("inf")}}, "data.dirichlet_alpha is None, not inf"),
        ({}, {"seed": 2}, "seed is 1, not 2"),
        ({"engine": {"name": "processes"}}, {"engine": {"workers": 3}}, "engine.workers is 2, not 3"),
    ],
    ids=str,
)
def test_a_run_keeps_its_settings(ours, asked, said) -> None:
    mixed = dict(ours)
    for section, value in asked.items():
        mixed[section] = ours.get(section, {}) | value if isinstance(value, dict) else value
    with pytest.raises(RunError, match="a resumed run keeps its settings") as refused:
        check_settings_unchanged(make_config(ours), make_config(mixed))
    assert said in str(refused.value)
    assert config_sha256(make_config(ours)) != config_sha256(make_config(mixed)) or "body_url is None" in said


def test_the_same_place_may_have_another_path(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    ours = make_config({"task": {"name": f"folder:{tmp_path / 'data'}"}})
    there, elsewhere = (make_config({"task": {"name": name}}) for name in ("folder:x/../data/", "csv:data"))
    assert with_known_task_path(there, ours) == ours
    assert with_known_task_path(elsewhere, ours) == elsewhere


def test_the_server_with_a_body_may_have_moved() -> None:
    here, there = (make_config({"algorithm": CUT | {"body_url": url}}) for url in ("http://here:1", "http://there:2"))
    check_settings_unchanged(here, there)
    assert config_sha256(here) == config_sha256(there)


@pytest.mark.parametrize("name", registry.names("algorithms"))
def test_only_declared_addresses_reach_the_config_of_a_run(name, tmp_path, monkeypatch) -> None:
    config = make_config({"algorithm": {"name": name}})
    addresses = load_class("algorithms", name).addresses

    def changed(**options):
        algorithm = ComponentConfig(name=name, options=config.algorithm.options | options)
        return config.model_copy(update={"algorithm": algorithm})

    for option in config.algorithm.options:
        began, asked = changed(**{option: "http://here"}), changed(**{option: "http://there"})
        monkeypatch.setattr(resume, "read_run", lambda out, began=began: (began, None))
        (tmp_path / "config.toml").write_text("as it was")
        if option in addresses:
            update_addresses(tmp_path, asked)
            assert (tmp_path / "config.toml").read_text() == asked.to_toml()
        else:
            with pytest.raises(RunError, match=f"algorithm.{option} is http://here, not http://there"):
                update_addresses(tmp_path, asked)
            assert (tmp_path / "config.toml").read_text() == "as it was"
