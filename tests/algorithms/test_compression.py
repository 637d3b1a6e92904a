"""Compressors: what they lose, and that the rest arrives."""

import numpy as np
import pytest

from fedbbpt.algorithms.compression import Int8, TopK, compress, expand, form, make_compressor
from fedbbpt.algorithms.reply_checks import letter_problem
from fedbbpt.errors import ConfigError, UnknownName
from fedbbpt.types import Update, Usage

COMPRESSORS = ["top-k:0.01", "top-k:0.1", "top-k:1", "int8"]
VECTORS = {
    "normal": np.random.default_rng(0).standard_normal(1000),
    "heavy-tailed": np.exp(4 * np.random.default_rng(1).standard_normal(1000)),
    "alike": np.full(1000, -0.5),
    "nothing": np.zeros(1000),
    "one number": np.array([3.0]),
    "hardly anything": np.full(1000, 3e-44),  # below what float32 divides exactly
}


@pytest.fixture(params=COMPRESSORS)
def compressor(request):
    return make_compressor(request.param)


@pytest.mark.parametrize("name", VECTORS)
def test_what_is_lost_is_less_than_what_was_there(compressor, name):
    v = VECTORS[name].astype(np.float32)
    said = compressor.unpack(compressor.pack(v), v.size)
    left = np.linalg.norm(v - said) ** 2 / (np.linalg.norm(v) ** 2 or 1)
    assert left <= (1 - compressor.share if isinstance(compressor, TopK) else 1 - 1 / v.size) + 1e-6
    assert said.dtype == np.float32


@pytest.mark.parametrize("name", [name for name in VECTORS if name != "hardly anything"])
def test_what_is_left_over_comes_in_the_end(compressor, name):
    v, public = VECTORS[name].astype(np.float32), np.zeros(len(VECTORS[name]), np.float32)
    for _ in range(200):
        public += compressor.unpack(compressor.pack(v - public), v.size)
    assert np.allclose(public, v, atol=1e-6 * np.abs(v).max())


def test_the_largest_numbers_are_said_and_the_first_of_those_that_are_alike():
    arrays = TopK(0.3, 1.0).pack(np.array([1, -5, 2, 2, 2, 0, 5, 1, 1, 1], np.float32))
    assert arrays["places"].tolist() == [1, 2, 6]
    assert arrays["values"].tolist() == [-5, 2, 5]


def test_a_letter_has_the_form_that_is_expected_and_no_more_parts_than_there_are(compressor):
    parts = {"prompt": np.zeros(0, np.float32), "readout": VECTORS["normal"].astype(np.float32)}
    letter, expected = compress(parts, compressor), form(parts, compressor)
    assert {name: (a.shape, a.dtype) for name, a in letter.items()} == {
        name: (a.shape, a.dtype) for name, a in expected.items()
    }
    assert {name.partition(".")[0] for name in letter} == {"readout"}
    sent = Update.from_bytes(Update("a", letter, 1, 0.0, Usage()).to_bytes())
    said = expand(sent.payload, compressor, parts)
    assert said["prompt"].size == 0
    assert np.array_equal(said["readout"], compressor.unpack(compressor.pack(parts["readout"]), 1000))


FORGED = {
    "a place too high": ("places", [1, 10], "places"),
    "a place twice": ("places", [3, 3], "places"),
    "places in disorder": ("places", [4, 2], "places"),
    "a number too large": ("values", [-9001, 0], "1,000 times as large"),
    "no number": ("values", [np.nan, 0], "NaN or infinity"),
}


@pytest.mark.parametrize("forgery", FORGED)
def test_letters_that_could_not_have_been_written_are_refused(forgery):
    name, values, why = FORGED[forgery]
    compressor, parts = TopK(0.2, 1.0), {"x": np.arange(10, dtype=np.float32)}
    honest = Update("a", compress(parts, compressor), 1, 0.0, Usage())
    template = Update("", form(parts, compressor), 1, 0.0, Usage())
    assert letter_problem(honest, template, "a", honest) == ""
    array = np.array(values, honest.payload[f"x.{name}"].dtype)
    forged = Update("a", {**honest.payload, f"x.{name}": array}, 1, 0.0, Usage())
    assert why in letter_problem(forged, template, "a", honest)


@pytest.mark.parametrize("worst", [np.inf, np.nan])
def test_what_has_diverged_is_refused_by_receivers(worst):
    parts = {"x": np.array([1, worst, 2], np.float32)}
    letter = Update("a", compress(parts, Int8(1.0)), 1, 0.0, Usage())
    template = Update("", form(parts, Int8(1.0)), 1, 0.0, Usage())
    assert "NaN or infinity" in letter_problem(letter, template, "a", letter)


def test_steps_are_those_that_were_tried_unless_set():
    assert make_compressor("none") is None
    assert make_compressor("top-k:0.25").consensus_step == 0.25
    assert make_compressor("int8").consensus_step == 1
    assert make_compressor("int8", 0.5).consensus_step == 0.5


@pytest.mark.parametrize(
    "name", ["top-k", "top-k:", "top-k:0", "top-k:1.5", "top-k:many", "top-k:nan", "int8:4", "none:1"]
)
def test_names_that_say_too_little_or_too_much_are_refused(name):
    with pytest.raises(ConfigError, match=r"write (top-k:0\.1|int8 alone|none alone)"):
        make_compressor(name)


def test_unknown_names_are_refused():
    with pytest.raises(UnknownName, match=r"unknown compression 'zip'.*Known: int8, none, top-k"):
        make_compressor("zip")


def test_a_step_without_compression_is_refused():
    with pytest.raises(ConfigError, match=r"set algorithm\.compression, too"):
        make_compressor("none", 0.5)
