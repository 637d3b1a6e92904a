import math

import numpy as np
import pytest

from fedbbpt.data.texts import as_texts
from fedbbpt.types import ArrayView, Dataset, Message, Score, Statistics, Update, Usage


@pytest.fixture
def parameters():
    rng = np.random.default_rng(0)
    return {"prompt": rng.normal(size=9).astype(np.float32), "readout": np.zeros(0, np.float32)}


def same(a, b):
    assert a.keys() == b.keys()
    for part in a:
        assert a[part].dtype == b[part].dtype
        assert a[part].tobytes() == b[part].tobytes()


def test_batches_are_float_images_between_zero_and_one(make_data):
    data = make_data(4)
    batch = data.batch(np.array([2, 0]))
    assert batch.inputs.dtype == np.float32
    assert np.array_equal(batch.inputs, data.inputs[[2, 0]].astype(np.float32) / np.float32(255))
    assert np.array_equal(batch.labels, data.labels[[2, 0]])
    assert batch.features is None


def test_whole_range_of_bytes_is_used(make_data):
    data = make_data(1)
    data.inputs[0, 0, 0, :2] = 0, 255
    assert data.batch(slice(None)).inputs[0, 0, 0, :2].tolist() == [0.0, 1.0]


def test_features_go_with_their_examples(make_data):
    data = make_data(4)
    known = type(data)(data.inputs, data.labels, np.arange(8, dtype=np.float32).reshape(4, 2))
    rows = np.array([3, 1])
    assert known.batch(rows).features.tolist() == [[6, 7], [2, 3]]
    assert known.take(rows).features.tolist() == [[6, 7], [2, 3]]


def test_taken_examples_are_a_copy(make_data):
    data = make_data(4)
    taken = data.take(np.arange(2))
    before = taken.inputs.copy()
    data.inputs[:] = 0
    assert len(taken) == 2
    assert np.array_equal(taken.inputs, before)


def test_arrays_on_disk_are_read_when_indexed(make_data, tmp_path):
    data = make_data(6)
    (tmp_path / "pixels").write_bytes(data.inputs.tobytes())
    mapped = np.memmap(tmp_path / "pixels", np.uint8, "r", shape=data.inputs.shape)
    lazy = type(data)(ArrayView(mapped, np.arange(6)), data.labels)
    for rows in (np.array([5, 0, 3]), np.array([2])):
        few, same_few = lazy.take(rows).take(np.arange(len(rows))), data.take(rows)
        assert isinstance(few.inputs, ArrayView)
        assert few.inputs.shape == same_few.inputs.shape
        assert list(few.contents()) == list(same_few.contents())
        assert np.array_equal(few.batch(slice(0, 2)).inputs, same_few.batch(slice(0, 2)).inputs)
    assert len(lazy.inputs) == 6


def test_texts_stay_texts():
    data = Dataset(as_texts(["one", "zwölf", "three"]), np.array([0, 1, 0]))
    batch = data.batch(np.array([1, 2]))
    assert batch.inputs.tolist() == ["zwölf", "three"]
    assert list(data.take(np.array([1])).contents()) == ["zwölf".encode()]


def test_usages_add_up():
    assert Usage(3, 1) + Usage(4, 2) == Usage(7, 3)
    assert Usage(3, 1, 5) + Usage(tokens=2) == Usage(3, 1, 7)
    assert sum([Usage(1, 1)] * 3, Usage()) == Usage(3, 3)


def test_unanswered_queries_are_sent_only_if_there_are_some():
    sent = [Score("c", np.eye(2, dtype=np.int64), 2.5, 3, Usage(9, 1, unanswered=n)).to_bytes() for n in (0, 4)]
    assert [Score.from_bytes(one).usage.unanswered for one in sent] == [0, 4]
    assert b"[9,1,0,0,0]" in sent[0].replace(b"\\", b"")


def test_usage_and_a_number_do_not_add_up():
    with pytest.raises(TypeError):
        Usage(3, 1) + 1


def test_message_survives_the_wire(parameters):
    back = Message.from_bytes(Message(12, 2**40, parameters).to_bytes())
    assert (back.round, back.seed) == (12, 2**40)
    same(back.parameters, parameters)


@pytest.mark.parametrize("loss", [0.1 + 0.2, 1e-300, math.inf])
def test_update_survives_the_wire(parameters, loss):
    payload = parameters | {"losses": np.array([[0.1, np.nan]], np.float16)}
    back = Update.from_bytes(Update("Zürich 1", payload, 7, loss, Usage(30, 4, 5), 0.1 + loss).to_bytes())
    assert (back.client, back.weight, back.loss, back.usage) == ("Zürich 1", 7, loss, Usage(30, 4, 5))
    assert back.loss_std == 0.1 + loss
    assert isinstance(back.usage, Usage)
    same(back.payload, payload)


def test_bytes_survive_the_wire(parameters):
    payload = {"content": np.arange(200, dtype=np.uint8)}
    same(Update.from_bytes(Update("c", payload, 1, math.nan, Usage()).to_bytes()).payload, payload)


def test_missing_loss_survives_the_wire(parameters):
    back = Update.from_bytes(Update("c", parameters, 1, math.nan, Usage()).to_bytes())
    assert math.isnan(back.loss)
    assert math.isnan(back.loss_std)


@pytest.mark.parametrize("values", [[], [-0.0, np.inf, np.nan, 1e-45, 0.1]])
def test_statistics_survive_the_wire(values):
    statistics = Statistics(np.array(values, np.float32))
    same({"values": Statistics.from_bytes(statistics.to_bytes()).values}, {"values": statistics.values})
    assert statistics.usage == Usage()


def test_score_survives_the_wire():
    confusion = np.arange(9, dtype=np.int64).reshape(3, 3).T  # not contiguous
    back = Score.from_bytes(Score("c", confusion, 2.5, 3, Usage(9, 1)).to_bytes())
    assert (back.client, back.loss_sum, back.unanswered, back.usage) == ("c", 2.5, 3, Usage(9, 1))
    assert back.confusion.dtype == np.int64
    assert np.array_equal(back.confusion, confusion)


def test_every_bit_of_a_number_survives_the_wire():
    odd = np.array([-0.0, np.inf, -np.inf, np.nan, 1e-45, np.finfo(np.float32).max], np.float32)
    same(Message.from_bytes(Message(1, 0, {"p": odd}).to_bytes()).parameters, {"p": odd})


def test_slices_survive_the_wire():
    every_other = np.arange(10, dtype=np.float32)[::2]
    back = Message.from_bytes(Message(1, 0, {"p": every_other}).to_bytes())
    assert back.parameters["p"].tolist() == [0, 2, 4, 6, 8]


def test_same_content_same_bytes(parameters):
    copy = {part: vector.copy() for part, vector in parameters.items()}
    assert Message(1, 2, parameters).to_bytes() == Message(1, 2, copy).to_bytes()
