"""Classifies what `sources` finds, and writes the answers."""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from fedbbpt.data.texts import as_texts
from fedbbpt.errors import DataError, FedbbptError, RunError
from fedbbpt.json_text import parse_strictly
from fedbbpt.printing import one_line
from fedbbpt.run.atomic_files import write_atomic, writing
from fedbbpt.tuned.inputs import as_inputs
from fedbbpt.tuned.model import TunedModel, probabilities
from fedbbpt.tuned.sources import Named
from fedbbpt.types import Float32

Format = Literal["tsv", "csv", "jsonl"]
DIGITS = 6  # after the point, of probabilities in csv and jsonl


class Prediction(NamedTuple):
    """The answer for one input."""

    name: str
    probabilities: Sequence[float]  # (K,)


class Failed(NamedTuple):
    """What is said of an input without an answer."""

    name: str
    error: FedbbptError


def predict(model: TunedModel, found: Sequence[Named]) -> Iterator[list[Prediction | Failed]]:
    """Answers all inputs in their order, as many at a time as the model takes.

    Raises:
        BudgetError: the next queries would exceed a limit.
        BackendError: the model cannot be asked.
    """
    size, limit = model.backend.info.input_size, model.backend.info.max_batch
    for start in range(0, len(found), limit):
        batch, read, failed = found[start : start + limit], [], {}
        for one in batch:
            try:
                read.append(as_inputs([one.item], size)[0])
            except DataError as e:
                failed[one.name] = Failed(one.name, e)
        inputs = as_texts(read) if size is None else np.array(read)
        answers = iter(model.log_probabilities(inputs) if read else ())
        yield [failed.get(one.name) or _answer(model, one.name, next(answers)) for one in batch]


def _answer(model: TunedModel, name: str, log_p: Float32) -> Prediction | Failed:
    if not np.isnan(log_p).any():
        return Prediction(name, probabilities(log_p).tolist())
    return Failed(name, model.no_answer(f"the query for {name}"))


class Formatter:
    """Predictions as lines. `tsv` has input, likeliest class and its probability; the others have all classes'."""

    def __init__(self, form: Format, classes: Sequence[str]) -> None:
        self._form, self._classes = form, classes

    @property
    def head(self) -> str:
        """What stands above all lines."""
        return _csv_line(["input", "class", "probability", *self._classes]) if self._form == "csv" else ""

    def line(self, one: Prediction) -> str:
        """One prediction, with the end of its line."""
        best = int(np.argmax(one.probabilities))
        label, likeliest = self._classes[best], one.probabilities[best]
        if self._form == "tsv":
            return "\t".join((one_line(one.name), one_line(label), f"{likeliest:.3f}")) + "\n"
        rounded = [round(p, DIGITS) for p in one.probabilities]
        if self._form == "csv":
            return _csv_line([one.name, label, rounded[best], *rounded])
        row = {"input": one.name, "class": label, "probability": rounded[best]}
        row["probabilities"] = dict(zip(self._classes, rounded, strict=True))
        return json.dumps(row, ensure_ascii=False) + "\n"


def _csv_line(cells: Iterable[Any]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue()


class Journal:
    """The predictions of a file that is not yet complete, in `FILE.partial`: one JSON object per line.

    Who is stopped goes on from there: nothing that has an answer is asked again. The file itself appears once all
    inputs have one.

    Args:
        out: the file.
        sha256: of the model's state; a journal of another one is refused.

    Raises:
        RunError: the file is there already, or its journal is another model's.
    """

    def __init__(self, out: Path, sha256: str) -> None:
        if out.exists():
            raise RunError(f"{out} is there already; remove it, or choose another --out")
        self._out, self._path = out, out.with_name(out.name + ".partial")
        self.answers: dict[str, Prediction] = {}
        with writing(self._path):
            content = self._path.read_bytes() if self._path.exists() else b""
            lines = content[: content.rfind(b"\n") + 1].splitlines()  # what was cut off by a kill is asked again
            head = {"state": sha256}
            if lines and _read(lines[0], self._path) != head:
                raise RunError(f"{self._path} was begun with another model; remove it, or choose another --out")
            for line in lines[1:]:
                one = _read(line, self._path)
                self.answers[one["input"]] = Prediction(one["input"], one["probabilities"])
            kept = b"".join(line + b"\n" for line in lines) or json.dumps(head).encode() + b"\n"
            write_atomic(self._path, kept)

    def add(self, batch: Iterable[Prediction]) -> None:
        """Keeps answers, durably but for a power cut."""
        lines = []
        for one in batch:
            self.answers[one.name] = one
            lines.append(json.dumps({"input": one.name, "probabilities": one.probabilities}) + "\n")
        with writing(self._path), self._path.open("a", encoding="utf-8") as file:
            file.write("".join(lines))

    def finish(self, found: Sequence[Named], formatter: Formatter) -> None:
        """Writes the file, and removes the journal."""
        lines = [formatter.line(self.answers[one.name]) for one in found]
        write_atomic(self._out, (formatter.head + "".join(lines)).encode("utf-8", "surrogateescape"))
        self._path.unlink()


def _read(line: bytes, path: Path) -> Any:
    try:
        one = parse_strictly(line)
    except ValueError as e:
        raise RunError(f"{path} is damaged ({e}); remove it") from e
    if not isinstance(one, Mapping):
        raise RunError(f"{path} is damaged; remove it")
    return one
