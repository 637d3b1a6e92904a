import pytest

from fedbbpt.config.presets import DEFAULTS
from fedbbpt.config.settings import override, parse_assignment, read_toml
from fedbbpt.errors import ConfigError


def overridden(settings, key, value):
    override(settings, key, value)
    return settings


def test_override_sets_and_adds():
    settings = {"rounds": 3, "prompt": {"epsilon": 0.1}}
    overridden(settings, "rounds", 5)
    overridden(settings, "prompt.epsilon", 0.2)
    overridden(settings, "data.shots_per_class", 4)
    assert settings == {"rounds": 5, "prompt": {"epsilon": 0.2}, "data": {"shots_per_class": 4}}


@pytest.mark.parametrize("before", [{"prompt": {"name": "dct", "frequencies": 3}}, {"prompt": {"frequencies": 3}}])
def test_override_with_another_name_drops_the_old_options(before):
    assert overridden(before, "prompt.name", "padding") == {"prompt": {"name": "padding"}}


@pytest.mark.parametrize("before", [{"prompt": {"name": "affine", "epsilon": 0.3}}, {"prompt": {"epsilon": 0.3}}])
def test_override_with_the_same_name_keeps_the_options(before):
    assert overridden(before, "prompt.name", "affine")["prompt"]["epsilon"] == 0.3


@pytest.mark.parametrize("section", [*DEFAULTS, "data"])
def test_override_of_a_whole_section_is_refused(section):
    with pytest.raises(ConfigError, match=f"{section} is a section"):
        override({}, section, "x")


def test_override_into_a_plain_value_is_refused():
    with pytest.raises(ConfigError, match="rounds is not a section"):
        override({"rounds": 3}, "rounds.x", 1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rounds=3", ("rounds", 3)),
        (" prompt.epsilon = 0.5 ", ("prompt.epsilon", 0.5)),
        ("data.dirichlet_alpha=inf", ("data.dirichlet_alpha", float("inf"))),
        ("prompt.name=dct", ("prompt.name", "dct")),
        ('task.name="folder:/a=b"', ("task.name", "folder:/a=b")),
        ("task.name=folder:/a=b", ("task.name", "folder:/a=b")),
        ("x=true", ("x", True)),
        ("x=[1, 2]", ("x", [1, 2])),
        ("x=", ("x", "")),
    ],
)
def test_assignments_are_read_as_toml_or_as_a_word(text, expected):
    assert parse_assignment(text) == expected


@pytest.mark.parametrize("text", ["rounds", "=3", " =3", ""])
def test_assignment_needs_key_and_value(text):
    with pytest.raises(ConfigError, match="key=value"):
        parse_assignment(text)


def test_toml_is_read(tmp_path):
    (tmp_path / "a.toml").write_text("rounds = 3\n[prompt]\nname = 'dct'\n", "utf-8")
    assert read_toml(tmp_path / "a.toml") == {"rounds": 3, "prompt": {"name": "dct"}}


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        (b"rounds =", "is not TOML"),
        (b"rounds = 3 # \xff", r"not UTF-8 text \(line 1\)"),
        (b"rounds = " + b"[" * 10**5, "nested too deeply"),
        (b"rounds = " + b"9" * 5000, "4,300 digits"),
    ],
    ids=["not TOML", "not UTF-8", "deep", "long"],
)
def test_unreadable_toml(tmp_path, content, hint):
    (tmp_path / "a.toml").write_bytes(content)
    with pytest.raises(ConfigError, match=hint):
        read_toml(tmp_path / "a.toml")


def test_missing_toml(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot read .*no such file"):
        read_toml(tmp_path / "a.toml")
