"""Both halves of a federation in this process, over a channel that passes bytes from one to the other."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fedbbpt.backend import Backend, BackendInfo, BackendOutput, Modality, Provider
from fedbbpt.engines.serial import Serial
from fedbbpt.federation.channel import Answer, Failure
from fedbbpt.federation.messages import Request, Response
from fedbbpt.federation.site import Site
from fedbbpt.federation.site_config import SiteConfig
from fedbbpt.run.callback import Callback
from fedbbpt.testing import PartitionableToy
from fedbbpt.types import Inputs
from fedbbpt_backends.torchvision_compat import ensure_importable

CLASSES = ("blue", "green", "red")
TRAFFIC, BYTES_OF_A_PAIR = ("exchanges", "bytes_up", "bytes_down"), 48  # the latter at most, with its name


class Colours(PartitionableToy):
    """The toy backend, which can be partitioned, under a name of the registry."""

    modalities: tuple[Modality, ...] = ("image",)

    def __init__(self, provider: Provider, /, *, max_batch: int = 16) -> None:
        super().__init__(classes=CLASSES, max_batch=max_batch)


class Reader(Backend):
    """Knows "fine" from "dull", and is the surer of it the more often a text says "film"."""

    modalities: tuple[Modality, ...] = ("text",)

    def __init__(self, provider: Provider, /) -> None:
        self.info = BackendInfo("reader", None, provider.classes, "logits", 64)

    def query(self, inputs: Inputs) -> BackendOutput:
        """See `Backend`."""
        words = [str(text).split() for text in inputs]
        scores = [[(0.2 + 0.5 * w.count("film")) * w.count(mood) for mood in ("dull", "fine")] for w in words]
        return BackendOutput(np.array(scores, np.float32))


@dataclass
class MemoryChannel:
    """Passes bytes to sites of this process; records them."""

    hosts: dict[str, Site]
    silent: set[str] = field(default_factory=set)  # sites that give no answer
    requests: list[tuple[str, bytes]] = field(default_factory=list)
    responses: list[tuple[str, bytes]] = field(default_factory=list)
    on_request: Callable[[Request], None] = lambda request: None
    unheard: set[str] = field(default_factory=set)  # sites that cannot reach the server
    to_server: list[bytes] = field(default_factory=list)
    answer: Answer | None = None
    letters: list[tuple[str, str, bytes]] = field(default_factory=list)  # from, to, and what

    @property
    def sites(self) -> tuple[str, ...]:
        """See `Channel`."""
        return tuple(sorted(self.hosts))

    def request(self, requests: Mapping[str, Request], timeout: float) -> dict[str, Response | Failure]:
        """See `Channel`."""
        for request in {id(request): request for request in requests.values()}.values():
            self.on_request(request)
        if all(request.kind == "letters" for request in requests.values()):  # sites wait for each other
            with ThreadPoolExecutor(len(requests)) as pool:
                return dict(zip(requests, pool.map(self._response, requests, requests.values()), strict=True))
        return {site: self._response(site, request) for site, request in requests.items()}

    def answer_with(self, answer: Answer) -> None:
        """See `Channel`."""
        self.answer = answer

    def ask_server(self, site: str, sent: bytes) -> bytes:
        """What a site asks of the server."""
        assert self.answer is not None
        if site in self.unheard:
            return Response.without_result("dropped", "it cannot be reached").to_bytes()
        self.to_server.append(sent)
        return self.answer(sent)

    def deliver(self, sender: str, site: str, letter: bytes) -> None:
        """Brings a letter from site to site."""
        self.letters.append((sender, site, letter))
        if site not in self.silent:
            self.hosts[site].hear(sender, letter)

    def _response(self, site: str, request: Request) -> Response | Failure:
        sent = request.to_bytes()
        self.requests.append((site, sent))
        if site in self.silent:
            return Failure("it did not answer in time")
        received = self.hosts[site].handle(sent)
        self.responses.append((site, received))
        return Response.from_bytes(received)


class Messages(Callback):
    """Keeps the sentences for the user, and stops a run where it is told to."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.texts: list[str] = []
        self._stop_after = stop_after

    def on_message(self, text: str) -> None:
        """See `Callback`."""
        self.texts.append(text)

    def on_round(self, row: Any) -> None:
        """See `Callback`."""
        if row["round"] == self._stop_after:
            raise KeyboardInterrupt


def write_images(folder: Path, sites: Sequence[str]) -> Path:
    """Folders of small images in three colours, one for each site."""
    rng = np.random.default_rng(0)
    for site in sites:
        for channel, name in enumerate(("red", "green", "blue")):
            place = folder / site / name
            place.mkdir(parents=True)
            for i in range(8):
                pixels = rng.integers(0, 120, (8, 8, 3), np.uint8)
                pixels[..., channel] += 40
                Image.fromarray(pixels).save(place / f"{i}.png")
    return folder


def write_texts(folder: Path, sites: Sequence[str]) -> Path:
    """Tables of short reviews, one for each site."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    for site in sites:
        rows = ["text,label"]
        for i in range(40):
            mood = ("dull", "fine")[i % 2]
            rows.append(f"{mood} {' '.join(rng.choice(['the', 'film', 'plot', 'of'], 5))} by {site} no{i},{mood}")
        (folder / f"{site}.csv").write_text("\n".join(rows) + "\n")
    return folder


def save_language_model(folder: Path) -> Path:
    """A small masked language model, whose weights are random, that knows the words of `write_texts`."""
    ensure_importable()
    import torch
    import transformers

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "dull", "fine", "the", "film", "plot", "of", "by"]
    (folder / "vocab.txt").write_text("\n".join(words))
    transformers.BertTokenizerFast.from_pretrained(folder).save_pretrained(folder)
    torch.manual_seed(0)
    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    config = transformers.BertConfig(vocab_size=len(words), max_position_embeddings=64, **size)
    transformers.BertForMaskedLM(config).save_pretrained(folder)
    return folder


_running: dict[Path, Site] = {}  # by kit


def _site(channel: MemoryChannel, kit: Path, name: str) -> Site:
    return Site(kit, name, partial(channel.ask_server, name), partial(channel.deliver, name), Serial)


def open_sites(kits: Path, data: Path, **policy: Any) -> MemoryChannel:
    """A site for each folder or table of `data`, with a kit in `kits`, which are kept if they are there."""
    channel = MemoryChannel(hosts := {})
    for entry in sorted(data.iterdir()):
        kit = kits / entry.stem
        kit.mkdir(parents=True, exist_ok=True)
        kind, backend = ("folder", "colours") if entry.is_dir() else ("csv", "reader")
        settings = {"data": {"name": f"{kind}:{entry}"}, "backend": {"name": backend}, "policy": policy}
        SiteConfig.of(settings).write(kit)
        if kit in _running:
            _running[kit].close()  # as if its process had ended
        hosts[entry.stem] = _running[kit] = _site(channel, kit, entry.stem)
    return channel


def without_places(found: Any) -> Any:
    """What has to be equal: the metrics, the summary without the task's name, the server's arrays."""
    rows, summary, arrays = found
    server = {name: content for name, content in arrays.items() if not name.startswith("clients/")}
    return rows, {key: value for key, value in summary.items() if key != "task"}, server


def check_same_but_for_baselines(split: Any, whole: Any) -> None:
    """Compares a run whose clients cannot query the model as it is with one whose clients can; both as by `outcome`."""
    rows, summary, arrays = split
    expected_rows, expected, expected_arrays = whole
    for row in (rows[-1], expected_rows[-1]):  # of the test, before which the model is queried as it is
        del row["queries"], row["requests"], row["exchanges"], row["bytes_up"], row["bytes_down"]
    assert rows == expected_rows
    assert arrays == {name: content for name, content in expected_arrays.items() if not name.startswith("clients/")}
    more = {part: expected[part] - expected["baseline_traffic"][part] - summary[part] for part in TRAFFIC}
    pairs = more.pop("bytes_up")  # with which the test scores say how they differ from the baseline's
    assert (pairs > 0) == (expected["paired"]["zero_shot"] is not None)
    assert pairs <= BYTES_OF_A_PAIR * len(expected["clients"])
    assert set(more.values()) == {0}
    assert summary["queries"] == expected["queries"] - expected["queries_by_purpose"]["baseline"]
