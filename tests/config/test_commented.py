"""Settings as a file for people: it gives the same config, and says what every setting means."""

import tomllib
from typing import Any

import pytest

from fedbbpt.config import make_config
from fedbbpt.config.commented import WIDTH, commented_toml
from fedbbpt.config.presets import SELECTABLE

TEXTS = {"task": {"name": "spam"}}
PAID = {**TEXTS, "backend": {"name": "openai", "model": "m"}, "max_cost": 2.0}


def written(settings: dict[str, Any], preset: str | None = None) -> str:
    return commented_toml(settings, preset, "a.toml")


def chosen(text: str) -> list[str]:
    return [line.partition("  #")[0] for line in text.splitlines() if line and line[0] not in "#["]


@pytest.mark.parametrize(
    ("settings", "preset"),
    [
        ({}, None),
        *(({}, name) for name in SELECTABLE if name != "language-model"),
        (TEXTS, "language-model"),
        (PAID, None),
        ({"task": {"name": "csv:a.csv", "text_column": "review"}, "max_queries": 1000}, None),
        ({"readout": {"name": "identity"}, "data": {"clients": 3, "dirichlet_alpha": float("inf")}}, None),
        ({"algorithm": {"topology": "ring"}}, "dfedsam"),
        ({"prompt": {"name": "subspace:padding"}}, None),
    ],
)
def test_the_file_gives_the_same_config(settings: dict[str, Any], preset: str | None) -> None:
    assert make_config(tomllib.loads(written(settings, preset))) == make_config(settings, preset)


def test_what_was_chosen_stands_without_a_mark() -> None:
    assert chosen(written({})) == []
    assert chosen(written({"rounds": 3})) == ["rounds = 3"]
    assert chosen(written({}, "best")) == ["rounds = 7", "population_size = 8", "num_prompts = 8"]
    assert chosen(written(PAID)) == ["max_cost = 2.0", 'name = "openai"', 'model = "m"', 'name = "spam"']


def test_every_setting_is_there_with_its_meaning_and_can_be_chosen() -> None:
    lines = written({}).splitlines()
    for section, value in make_config({}).to_settings().items():
        for name in value if isinstance(value, dict) else [section]:
            index = next(i for i, line in enumerate(lines) if line.startswith(f"# {name} ="))
            assert lines[index - 1].startswith("# ")
            assert "; default: " in lines[index]
    settings = [line.removeprefix("# ") if " =  " not in line and "; default: " in line else line for line in lines]
    assert make_config(tomllib.loads("\n".join(settings))) == make_config({})
    assert all(len(line) <= WIDTH + 2 for line in lines if "; default: " not in line)
