"""`report.html`: a run on one page that needs nothing but itself and asks nothing of the model."""

import base64
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from PIL import Image

from fedbbpt.algorithms import State
from fedbbpt.errors import RunError
from fedbbpt.run.charts import COUNTED_CLASSES, NAMED_CLASSES, PALETTE, Line, Part, bar, class_colour, heat_map, line_chart
from fedbbpt.run.files import write_atomic
from fedbbpt.run.metrics import read_metrics
from fedbbpt.run.session import Session
from fedbbpt.types import Float32

PICTURES = 6  # most pictures shown
CONFUSIONS = 10  # most confusions listed
THIS, OTHER = PALETTE[0], PALETTE[3]  # bars of this run and of what it is compared with
DASH = "–"


def write_report(out: Path, session: Session, state: State) -> Path:
    """Writes `report.html` into the folder of a finished run, with the parameters that it kept; returns its path.

    Raises:
        RunError: the run has no summary yet, or the page cannot be written.
    """
    if not (out / "summary.json").is_file():
        raise RunError(f"{out} has no summary yet; finish the run with fedbbpt train --resume {out}")
    summary = json.loads((out / "summary.json").read_text("utf-8"))
    environment = json.loads((out / "environment.json").read_text("utf-8"))
    environment["backend"]["classes"] = f"{len(environment['backend']['classes'])} classes"
    page = _environment().from_string(files("fedbbpt.run").joinpath("report.html.j2").read_text("utf-8"))
    text = page.render(
        summary=summary,
        config=session.config,
        model=session.backend.info.model,
        toml=(out / "config.toml").read_text("utf-8"),
        environment=list(_flat(environment)),
        dims={"prompt": session.prompt.dim, "readout": session.readout.dim},
        tiles=_tiles(summary),
        comparison=_comparison(summary, session),
        verdict=_verdict(summary, session),
        charts=_curves(read_metrics(out / "metrics.jsonl"), summary["kept_round"]),
        clients=_clients(summary),
        legend=[(name, class_colour(i)) for i, name in enumerate(summary["classes"])][: NAMED_CLASSES + 1],
        named=NAMED_CLASSES,
        pictures=_pictures(session, state) if session.prompt.dim else None,
        maps=_maps(summary),
        confusions=_confusions(summary) if len(summary["classes"]) > COUNTED_CLASSES else [],
        purposes=_purposes(summary),
    )
    write_atomic(out / "report.html", text.encode())
    return out / "report.html"


def percent(share: float | None) -> str:
    """A share with one decimal; a dash where there is none."""
    return DASH if _missing(share) else f"{100 * share:.1f} %"  # type: ignore[operator]


def size(count: int) -> str:
    """Bytes in the largest fitting decimal unit."""
    amount, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if amount < 1000:
            break
        amount, unit = amount / 1000, larger
    return f"{amount:.3g} {unit}" if amount < 999.5 else f"{amount:.0f} {unit}"


def duration(seconds: float) -> str:
    """Seconds below two minutes, then the two largest units."""
    if seconds < 120:
        return f"{seconds:.3g} s"
    minutes, left = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes} min" if hours else f"{minutes} min {left} s"


def interval(share: float, count: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's 95 % interval of a share of `count` independent examples."""
    centre, scale = share + z * z / (2 * count), 1 + z * z / count
    half = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


def _environment() -> Environment:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"percent": percent, "size": size}
    return environment


def _missing(value: float | None) -> bool:
    return value is None or not math.isfinite(value)


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key} · ")
        else:
            shown = " × ".join(map(str, value)) if isinstance(value, list) else DASH if value is None else value
            yield prefix + key, shown


def _tiles(summary: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(label, value for people, exact value)"""
    shares = [("test accuracy", "test_accuracy"), ("zero-shot accuracy", "zero_shot_accuracy")]
    tiles = [(label, percent(summary[key]), str(summary[key])) for label, key in shares]
    tiles += [(key, f"{summary[key]:,}", f"{summary[key]} {key}") for key in ("queries", "calls")]
    sizes = [("from the clients", "bytes_up"), ("to the clients", "bytes_down")]
    tiles += [(label, size(summary[key]), f"{summary[key]:,} bytes") for label, key in sizes]
    return [*tiles, ("time", duration(summary["seconds"]), f"{summary['seconds']:.3f} seconds")]


def _comparison(summary: Mapping[str, Any], session: Session) -> list[dict[str, Any]]:
    """The rows from the model as it is to this run, with what each is made of."""
    examples = sum(sum(client["test"]) for client in summary["clients"].values())
    rows = [("Zero-shot", "no prompt, untrained readout", summary["zero_shot_accuracy"], OTHER)]
    if session.prompt.dim and session.readout.dim:
        alone = "no prompt, readout trained for the same rounds"
        rows.append(("Readout alone", alone, summary["readout_alone_accuracy"], OTHER))
    name, made_of = _this_run(session)
    rows.append((name, made_of, summary["test_accuracy"], THIS))
    return [
        {
            "name": name,
            "made_of": made_of,
            "accuracy": accuracy,
            "interval": None if _missing(accuracy) or not examples else interval(accuracy, examples),
            "bar": bar([Part(0.0 if _missing(accuracy) else accuracy, percent(accuracy), colour)], 1, percent(accuracy)),
        }
        for name, made_of, accuracy, colour in rows
    ]


def _this_run(session: Session) -> tuple[str, str]:
    if not session.prompt.dim:
        return "Readout alone", "no prompt: this run"
    if not session.readout.dim:
        return "Prompt alone", "no trained readout: this run"
    return "Prompt + readout", "this run"


def _verdict(summary: Mapping[str, Any], session: Session) -> str:
    """What the trained part added, in one sentence that the numbers decide."""
    part = "prompt" if session.prompt.dim else "readout"
    trained_both = session.prompt.dim and session.readout.dim
    rival, key = ("the readout alone", "readout_alone_accuracy") if trained_both else ("zero-shot", "zero_shot_accuracy")
    before, after = summary[key], summary["test_accuracy"]
    if _missing(before) or _missing(after):
        return f"There is no result for {rival} to compare with, so nothing can be said about what the {part} added."
    gain = round(100 * (after - before), 1)
    numbers = f"({percent(before)} → {percent(after)})"
    if gain > 0:
        return f"The {part} added {gain} percentage points to {rival} {numbers}."
    if gain < 0:
        return f"The {part} did not beat {rival}: it lost {-gain} percentage points {numbers}."
    return f"The {part} did not beat {rival}: the two agree to a tenth of a percentage point {numbers}."


def _curves(rows: Sequence[Mapping[str, Any]], kept_round: int) -> list[Markup]:
    """Accuracy and loss, each against rounds and against queries."""
    rows = [row for row in rows if row["split"] == "validation"]
    charts = []
    for x, label in (("round", "rounds"), ("queries", "queries")):
        kept = next(row[x] for row in rows if row["round"] == kept_round)

        def line(name: str, style: str, key: str, factor: int = 1, x: str = x) -> Line:
            return Line(name, style, [(row[x], factor * row[key]) for row in rows if row[key] is not None])

        accuracy = [line("validation", "validation", "accuracy", 100)]
        loss = [line("validation", "validation", "loss"), line("training", "training", "train_loss")]
        charts += [line_chart("Accuracy, %", label, accuracy, kept), line_chart("Loss, nats", label, loss, kept)]
    return charts


def _clients(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    most = max(sum(client["train"]) for client in summary["clients"].values())
    names = summary["classes"]
    return [
        {
            "name": name,
            "bar": bar(
                [Part(n, f"{names[i]}: {n}", class_colour(i)) for i, n in enumerate(client["train"]) if n],
                most,
                f"training labels of {name}",
            ),
            **{split: sum(client[split]) for split in ("train", "validation", "test")},
            "zero_shot": client["zero_shot_accuracy"],
            "accuracy": client["test_accuracy"],
        }
        for name, client in summary["clients"].items()
    ]


def _pictures(session: Session, state: State) -> dict[str, Any]:
    """A training image of each of a few classes: as it is, what the prompt changes, and prompted."""
    first = {}
    for client in session.clients:
        for row, label in enumerate(client.train.labels.tolist()):
            first.setdefault(label, (client, row))
    labels = sorted(first)
    chosen = [labels[i] for i in sorted({round(i) for i in np.linspace(0, len(labels) - 1, PICTURES)})]
    shown = []
    for label in chosen:
        client, row = first[label]
        batch = client.train.batch(np.array([row]))
        prompted = session.prompt.apply(state.parameters["prompt"][None], batch.inputs, batch.features)[0]
        shown.append((session.task.classes[label], client.id, batch.inputs[0], prompted))
    reach = float(max(np.abs(prompted - original).max() for *_, original, prompted in shown))
    scale = np.float32(0.5 / reach) if reach else np.float32(0)
    return {
        "reach": reach,
        "side": max(shown[0][2].shape[1:]),
        "items": [
            (name, client, [_data_uri(p) for p in (original, (prompted - original) * scale + np.float32(0.5), prompted)])
            for name, client, original, prompted in shown
        ],
    }


def _data_uri(picture: Float32) -> str:
    """A picture (3, h, w) in [0, 1] as PNG."""
    buffer = io.BytesIO()
    Image.fromarray((picture.transpose(1, 2, 0) * 255).round().astype(np.uint8)).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _maps(summary: Mapping[str, Any]) -> list[tuple[str, Markup]]:
    titles = (("Zero-shot", "zero_shot"), ("This run", "test"))
    counts = [(title, summary["confusion"][key]) for title, key in titles]
    return [(title, heat_map(f"{title}: confusion matrix", c, summary["classes"])) for title, c in counts if c is not None]


def _confusions(summary: Mapping[str, Any]) -> list[tuple[str, str, int]]:
    """The most frequent errors of the run: true class, predicted class, count."""
    counts = np.array(summary["confusion"]["test"])
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts, axis=None, kind="stable")[:CONFUSIONS]
    names = summary["classes"]
    pairs = [(int(i), int(j)) for i, j in zip(*np.unravel_index(order, counts.shape), strict=True)]
    return [(names[i], names[j], int(counts[i, j])) for i, j in pairs if counts[i, j]]


def _purposes(summary: Mapping[str, Any]) -> list[tuple[str, int, float, Markup]]:
    by_purpose, total = summary["queries_by_purpose"], sum(summary["queries_by_purpose"].values())
    return [
        (name, n, n / total, bar([Part(n, f"{name}: {n:,}", THIS)], total, f"{n:,} queries")) for name, n in by_purpose.items()
    ]
