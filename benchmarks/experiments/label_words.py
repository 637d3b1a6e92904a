"""What it saves to score all classes' words side by side: `python -m fedbbpt_benchmarks.experiments.label_words`.

Postings of four of the 20 Newsgroups, SmolLM2, a prompt before each text. One label at a time is what is usually done:
for each label the model reads the whole batch of contexts with that label behind them, padded, and gives the scores of
the whole vocabulary. Both alternate in one process on the same texts; the ratio is that of the medians. How far two
computations of the same numbers are apart depends on the number format, so the last line compares one label at a time
with itself, in batches of another size.
"""

import statistics
import time
from typing import Any

import click
import numpy as np

from fedbbpt.backend import Provider
from fedbbpt.commands.errors import Program
from fedbbpt.config.components import build_task, resolve
from fedbbpt.data.texts import as_texts
from fedbbpt.types import Float32, Prompted
from fedbbpt_backends.hf_text import HfText
from fedbbpt_backends.verbalizer import Context, Verbalizer, length_buckets

GROUPS = ("comp.graphics", "rec.sport.hockey", "sci.space", "talk.politics.mideast")
PROMPT = "Read the posting and decide which of the four groups its author sent it to, by what it is about.\n"


@click.command(cls=Program)
@click.option("--texts", default=64, show_default=True)
@click.option("--repetitions", default=5, show_default=True)
@click.option("--dtype", type=click.Choice(["auto", "float32", "bfloat16"]), default="auto", show_default=True)
def main(texts: int, repetitions: int, dtype: str) -> None:
    """Prints texts/s of both ways, alternating, their ratio, and how far their log-probabilities are apart."""
    task = build_task(resolve("tasks", "newsgroups", {}))
    test, classes = task.load(None).test, list(task.classes)
    chosen = np.flatnonzero(np.isin(test.labels, [classes.index(group) for group in GROUPS]))[:texts]
    words = tuple(task.provider.label_words[classes.index(group)] for group in GROUPS)
    provider = Provider(GROUPS, question=task.provider.question, label_words=words)
    backend = HfText(provider, model="smollm2", dtype=dtype)  # type: ignore[arg-type]  # click has checked it
    verbalizer = backend.verbalizer
    assert verbalizer is not None  # a model that writes on is read by its words
    inputs = as_texts([Prompted(text, PROMPT) for text in test.inputs[chosen]])
    ours, theirs, times = np.empty(0), np.empty(0), []
    for i in range(repetitions + 1):
        start = time.perf_counter()
        ours = verbalizer(inputs)[0]
        middle = time.perf_counter()
        theirs = one_label_at_a_time(verbalizer, backend.network.model.net, inputs, 2048)
        times.append((middle - start, time.perf_counter() - middle))
        click.echo(
            f"{'warm' if i == 0 else i:>4}  side by side {times[-1][0]:6.2f} s   one by one {times[-1][1]:6.2f} s"
        )
    side_by_side, one_by_one = (statistics.median(column) for column in zip(*times[1:], strict=True))
    click.echo(f"{backend.network.dtype}, {len(inputs)} texts: {one_by_one / side_by_side:.2f} times as fast")
    other = one_label_at_a_time(verbalizer, backend.network.model.net, inputs, 512)
    for what, a in (("side by side", ours), ("one by one, other batches", other)):
        apart = np.abs(a - theirs)
        relative = np.median(apart / np.abs(theirs))
        click.echo(
            f"{what}: apart by {np.median(apart):.1e} nats (median; {relative:.1e} of them), at most {apart.max():.1e}"
        )


def one_label_at_a_time(verbalizer: Verbalizer, net: Any, inputs: Any, at_once: int) -> Float32:
    """(b, C), without sharing anything between labels or texts."""
    contexts = [verbalizer.context(text) for text in inputs]
    return np.stack([_of_label(word, net, contexts, at_once) for word in verbalizer.label_ids], 1)


def _of_label(word: tuple[int, ...], net: Any, contexts: list[Context], at_once: int) -> Float32:
    import torch

    result = np.empty(len(contexts), np.float32)
    texts = [torch.tensor([*c.prefix, *c.text, *c.suffix, *word]) for c in contexts]
    for rows in length_buckets([len(text) for text in texts], at_once):
        lengths = torch.tensor([len(texts[i]) for i in rows])
        ids = torch.nn.utils.rnn.pad_sequence([texts[i] for i in rows], batch_first=True)
        mask = (torch.arange(ids.shape[1]) < lengths[:, None]).long()
        with torch.inference_mode():
            logits = net(input_ids=ids, attention_mask=mask).logits
            places = lengths[:, None] - len(word) - 1 + torch.arange(len(word))
            log_p = logits[torch.arange(len(rows))[:, None], places].float().log_softmax(-1)
            chosen = log_p.gather(-1, torch.tensor(word).expand(len(rows), -1)[..., None])
        result[rows] = chosen.sum((1, 2)).numpy()
    return result


if __name__ == "__main__":
    main()
