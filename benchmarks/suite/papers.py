"""The tasks of the papers, from the Hugging Face hub, written without access to it.

Revisions and counts are those that public sources state (`fedbbpt.assets.hf_datasets`). The first use checks the
counts, and only then is it known how many test examples look like a training example (`dropped`). The splits are the
hub's, not the few-shot splits of CoOp and BlackVIP. Classes of large sets are named by their numbers.
"""

from functools import partial
from typing import Any

from fedbbpt.assets.hf_datasets import HF_DATASETS
from fedbbpt_benchmarks.hub import HubSplit, hub_images, hub_texts
from fedbbpt_benchmarks.suite.task import TaskSpec

LIMIT = 5000
PER_CLASS = 50  # training examples, at least and on average


def _train(examples: int, classes: tuple[str, ...], name: str = "train") -> HubSplit:
    return HubSplit(f"*{name}-*.parquet", examples, max(LIMIT, PER_CLASS * len(classes)), False)


def _test(examples: int, name: str = "test") -> HubSplit:
    return HubSplit(f"*{name}-*.parquet", examples, LIMIT, True)


def _numbers(count: int) -> tuple[str, ...]:
    return tuple(map(str, range(count)))


def _counted(splits: tuple[HubSplit, ...], for_test: bool) -> int:
    return sum(min(split.examples, split.limit) for split in splits if split.official == for_test)


def _images(
    title: str, asset: str, classes: tuple[str, ...], splits: tuple[HubSplit, ...], citation: str, **columns: Any
) -> TaskSpec:
    read = partial(hub_images, asset, splits, classes, **columns)
    counts = (_counted(splits, for_test) for for_test in (False, True))
    return TaskSpec(
        title, read, classes, *counts, None, "an official split", (asset,), HF_DATASETS[asset].licence, citation
    )


def _texts(
    title: str, asset: str, classes: tuple[str, ...], train: int, test: tuple[int, str], columns: str, citation: str
) -> TaskSpec:
    splits = _train(train, classes), _test(*test)
    read = partial(hub_texts, asset, splits, classes, tuple(columns.split()))
    counts = (_counted(splits, for_test) for for_test in (False, True))
    return TaskSpec(
        title, read, classes, *counts, None, "an official split", (asset,), HF_DATASETS[asset].licence, citation,
        modality="text", provider_shots_per_class=16,
    )  # fmt: skip


def _own(title: str, asset: str, classes: tuple[str, ...], examples: int, train: int, citation: str) -> TaskSpec:
    """A data set without a usable official split; hashes of its keys put `train` examples on the training side."""
    read = partial(hub_images, asset, (HubSplit("*.parquet", examples, examples, None),), classes)
    return TaskSpec(
        title, read, classes, train, examples - train, None, "an image", (asset,), HF_DATASETS[asset].licence, citation
    )  # fmt: skip


def _two(classes: tuple[str, ...], train: int, test: int, name: str = "test") -> tuple[HubSplit, ...]:
    return _train(train, classes), _test(test, name)


def _three(classes: tuple[str, ...], train: int, validation: tuple[int, str], test: int) -> tuple[HubSplit, ...]:
    """The validation split of a small data set is used for training."""
    return _train(train, classes), _train(validation[0], classes, validation[1]), _test(test)


DIGITS, PAIRS = _numbers(10), ("entailment", "not_entailment")
C8, C37, C45, C47 = tuple(map(str, range(3, 11))), _numbers(37), _numbers(45), _numbers(47)
C100, C101, C102, C196, C397, C1000 = map(_numbers, (100, 101, 102, 196, 397, 1000))
EUROSAT = (
    *("AnnualCrop", "Forest", "HerbaceousVegetation", "Highway", "Industrial", "Pasture", "PermanentCrop"),
    *("Residential", "River", "SeaLake"),
)
DBPEDIA = (
    *("Company", "EducationalInstitution", "Artist", "Athlete", "OfficeHolder", "MeanOfTransportation", "Building"),
    *("NaturalPlace", "Village", "Animal", "Plant", "Album", "Film", "WrittenWork"),
)
NLI = ("entailment", "neutral", "contradiction")
GLUE = "Wang et al. 2019"

PAPERS = {
    "caltech101": _images("Caltech-101", "caltech101", C102, _two(C102, 3060, 6084), "Fei-Fei et al. 2004"),
    "pets": _images("Oxford-IIIT Pets", "pets", C37, _two(C37, 3680, 3669), "Parkhi et al. 2012"),
    "cars": _images("Stanford Cars", "cars", C196, _two(C196, 8144, 8041), "Krause et al. 2013"),
    "flowers102": _images(
        "Oxford Flowers-102", "flowers102", C102, _three(C102, 1020, (1020, "validation"), 6149),
        "Nilsback & Zisserman 2008",
    ),
    "food101": _images("Food-101", "food101", C101, _two(C101, 75750, 25250, "validation"), "Bossard et al. 2014"),
    "aircraft": _images(
        "FGVC Aircraft, variants", "aircraft", C100, _three(C100, 3334, (3333, "val"), 3333), "Maji et al. 2013"
    ),
    "sun397": _images("SUN397, official partition", "sun397", C397, _two(C397, 19850, 19850), "Xiao et al. 2010"),
    "dtd": _images("Describable Textures", "dtd", C47, _two(C47, 3760, 1880), "Cimpoi et al. 2014"),
    "svhn": _images("Street View House Numbers", "svhn", DIGITS, _two(DIGITS, 73257, 26032), "Netzer et al. 2011"),
    "eurosat": _images("EuroSAT, RGB", "eurosat", EUROSAT, _two(EUROSAT, 16200, 5400), "Helber et al. 2019"),
    "resisc45": _images("RESISC45", "resisc45", C45, _two(C45, 18900, 6300), "Cheng et al. 2017"),
    "clevr-count": _images(
        "CLEVR, how many objects", "clevr", C8, _two(C8, 70000, 15000), "Johnson et al. 2017",
        label="label_count", first=3,
    ),
    "ucf101": _images(
        "UCF101, the first frame of each clip", "ucf101", C101, _two(C101, 9537, 3783), "Soomro et al. 2012",
        once=("video_id", "clip_id"),
    ),
    "imagenet": _own(
        "ImageNet-1k: its 50,000 validation images under a split of our own", "imagenet", C1000, 50000, 25000,
        "Russakovsky et al. 2015",
    ),
    "cifar100": _images(
        "CIFAR-100", "cifar100", C100, _two(C100, 50000, 10000), "Krizhevsky 2009", image="img", label="fine_label"
    ),
    "sst2": _texts(
        "sentiment of a sentence about a film", "sst2", ("negative", "positive"), 67349, (872, "validation"),
        "sentence", "Socher et al. 2013",
    ),
    "yelp-polarity": _texts(
        "sentiment of a review", "yelp-polarity", ("negative", "positive"), 560000, (38000, "test"), "text",
        "Zhang et al. 2015",
    ),
    "ag-news": _texts(
        "topic of a news item", "ag-news", ("World", "Sports", "Business", "Sci/Tech"), 120000, (7600, "test"), "text",
        "Zhang et al. 2015",
    ),
    "dbpedia": _texts(
        "kind of what an article is about", "dbpedia", DBPEDIA, 560000, (70000, "test"), "title content",
        "Lehmann et al. 2015; Zhang et al. 2015",
    ),
    "mrpc": _texts(
        "does a sentence paraphrase another", "mrpc", ("not_equivalent", "equivalent"), 3668, (408, "validation"),
        "sentence1 sentence2", f"Dolan & Brockett 2005; {GLUE}",
    ),
    "snli": _texts(
        "does a caption entail another", "snli", NLI, 549367, (9824, "test"), "premise hypothesis", "Bowman et al. 2015"
    ),
    "rte": _texts(
        "does a text entail a sentence", "rte", PAIRS, 2490, (277, "validation"), "sentence1 sentence2",
        f"Dagan et al. 2006; {GLUE}",
    ),
    "cola": _texts(
        "is a sentence grammatical", "cola", ("unacceptable", "acceptable"), 8551, (1043, "validation"), "sentence",
        f"Warstadt et al. 2019; {GLUE}",
    ),
    "qnli": _texts(
        "does a sentence answer a question", "qnli", PAIRS, 104743, (5463, "validation"), "question sentence",
        f"Rajpurkar et al. 2016; {GLUE}",
    ),
    "qqp": _texts(
        "do two questions ask the same", "qqp", ("not_duplicate", "duplicate"), 363846, (40430, "validation"),
        "question1 question2", GLUE,
    ),
    "mnli": _texts(
        "does a sentence entail another, genres of the training data", "mnli", NLI, 392702,
        (9815, "validation_matched"), "premise hypothesis", f"Williams et al. 2018; {GLUE}",
    ),
}  # fmt: skip
