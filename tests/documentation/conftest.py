"""The folder in which the pages' commands run: images and texts drawn here, and small models in place of large ones."""

import random
import runpy
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fedbbpt_backends.hf_text import HfText
from tests.documentation.pages import ROOT

SAID = {"good": "kind friendly quick clean calm", "bad": "rude slow loud dirty late"}
HOSPITALS = ("north", "south")
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


@pytest.fixture(scope="session")
def small_text_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A text model with random weights, that knows the words of the reviews."""
    import torch

    from fedbbpt_backends.torchvision_compat import ensure_importable

    ensure_importable()
    import transformers

    folder = tmp_path_factory.mktemp("model")
    words = " ".join(SAID.values()).split()
    (folder / "vocab.txt").write_text("\n".join([*SPECIAL, *words]))
    transformers.BertTokenizerFast.from_pretrained(folder).save_pretrained(folder)
    torch.manual_seed(1)
    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    model = transformers.BertModel(transformers.BertConfig(**size, vocab_size=len(SPECIAL) + len(words)))
    model.save_pretrained(folder)
    return f"dir:{folder}"


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the pages' commands name: `photos`, `clinics`, `reviews.csv`, `new.csv` and the stored results."""
    folder = tmp_path_factory.mktemp("documented")
    draw = runpy.run_path(str(ROOT / "examples" / "own_images.py"))["draw_shapes"]
    draw(folder / "photos")
    draw(folder / "clinics" / "rome")
    shutil.copytree(folder / "clinics" / "rome", folder / "clinics" / "paris")
    for number, path in enumerate((folder / "clinics" / "paris").rglob("*.png")):
        image = np.asarray(Image.open(path)).copy()
        image[0, 0] = number % 256
        Image.fromarray(image).save(path)
    rows = list(reviews())
    header = "review,stars,hospital\n"
    (folder / "reviews.csv").write_text(header + "".join(",".join(row) + "\n" for row in rows))
    (folder / "new.csv").write_text("review\n" + "".join(f"{text}\n" for text, _, _ in rows[:5]))
    shutil.copytree(ROOT / "benchmarks" / "results", folder / "benchmarks" / "results")
    return folder


def reviews() -> list[tuple[str, str, str]]:
    """Text, class and hospital of 160 reviews, all different."""
    chance = random.Random(0)
    found: dict[str, tuple[str, str, str]] = {}
    while len(found) < 160:
        stars = ("good", "bad")[len(found) % 2]
        text = " ".join(chance.choices(SAID[stars].split(), k=5))
        found.setdefault(text, (text, stars, HOSPITALS[len(found) // 2 % 2]))
    return list(found.values())


@pytest.fixture
def workspace(prepared: Path, small_text_model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the folder, which is the current one; the default text model is the small one."""
    shutil.copytree(prepared, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FEDBBPT_OFFLINE", "1")
    monkeypatch.setitem(HfText.__init__.__kwdefaults__, "model", small_text_model)
    return tmp_path
