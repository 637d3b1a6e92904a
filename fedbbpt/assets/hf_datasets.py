"""Catalogue entries of the papers' data sets, which only the Hugging Face hub has.

These entries were written without access to the hub. Revisions, paths and counts are those of public code and the data
sets' own pages; a wrong one raises an error on first use and never yields other data.
"""

from fedbbpt.assets.asset import Asset

GLUE = ("nyu-mll/glue", "bcdcba79d07bc864c1c254ccfcedcce55bcc9a8c")


def _hub(repository: str, revision: str, licence: str, description: str, *files: str) -> Asset:
    return Asset("hub", repository, revision, "", 0, licence, description, files or ("*.parquet",))


def _glue(config: str, description: str, test: str = "validation") -> Asset:
    return _hub(*GLUE, "other", description, f"{config}/train-*.parquet", f"{config}/{test}-*.parquet")


HF_DATASETS = {
    "caltech101": _hub(
        "mteb/Caltech101", "011e51e5fb01f0c820824734edb7a539ab8e6650", "not stated", "Caltech-101"
    ),
    "pets": _hub(
        "timm/oxford-iiit-pet", "089695c834a7deb60505b7cc506672db1c31a6aa", "CC-BY-SA-4.0", "Oxford-IIIT Pets"
    ),
    "cars": _hub(
        "tanganke/stanford_cars", "9abf6cf7d6dfa7b95152a0d6e791ea9435b47a40", "not stated", "Stanford Cars"
    ),
    "flowers102": _hub(
        "dpdl-benchmark/oxford_flowers102", "544b55c9af69a05742ead7571cd7ae23cfcd758b", "not stated", "Flowers-102"
    ),
    "food101": _hub("ethz/food101", "e06acf2a88084f04bce4d4a525165d68e0a36c38", "not stated", "Food-101"),
    "aircraft": _hub(
        "Donghyun99/FGVC-Aircraft", "3237e2c15db36fa9016794561b7aae6b49eef9a2", "not stated", "FGVC Aircraft"
    ),
    "sun397": _hub("tanganke/sun397", "9c4afd6174afa3974f209a0ef099dbbe244dfd27", "not stated", "SUN397"),
    "dtd": _hub("tanganke/dtd", "d2afa97d9f335b1a6b3b09c637aef667f98f966e", "research only", "Describable Textures"),
    "svhn": _hub(
        "ufldl-stanford/svhn", "f9e1717d73324ebbc1ece84267ccd80d0aca0690", "non-commercial",
        "Street View House Numbers",
        "cropped_digits/train-*.parquet", "cropped_digits/test-*.parquet",
    ),
    "eurosat": _hub("timm/eurosat-rgb", "b4e28552cd5f3932b6abc37eb20d3e84901ad728", "MIT", "EuroSAT, RGB"),
    "resisc45": _hub("timm/resisc45", "fe12fc5f1b7606543b0355eda392f1ddc54625c6", "not stated", "RESISC45"),
    "clevr": _hub("dpdl-benchmark/clevr", "a9b3cc07eacabb93d57ceef72374427982104e00", "CC-BY-4.0", "CLEVR, 11 GB"),
    "ucf101": _hub(
        "flwrlabs/ucf101", "1098eed48f2929443f47c39f3b5c814e16369c11", "not stated", "UCF101, all frames: very large"
    ),
    "imagenet": _hub(
        "ILSVRC/imagenet-1k", "49e2ee26f3810fb5a7536bbf732a7b07389a47b5", "ImageNet's terms, gated",
        "ImageNet-1k, its validation images", "data/validation-*.parquet",
    ),
    "cifar100": _hub("uoft-cs/cifar100", "aadb3af77e9048adbea6b47c21a81e47dd092ae5", "not stated", "CIFAR-100"),
    "sst2": _hub("stanfordnlp/sst2", "8d51e7e4887a4caaa95b3fbebbf53c0490b58bbb", "not stated", "SST-2"),
    "yelp-polarity": _hub(
        "fancyzhx/yelp_polarity", "bbf1c97a1f0cf005e5aded43839fd814654a1557", "not stated", "Yelp polarity"
    ),
    "ag-news": _hub("fancyzhx/ag_news", "eb185aade064a813bc0b7f42de02595523103ca4", "research only", "AG News"),
    "dbpedia": _hub("fancyzhx/dbpedia_14", "9abd46cf7fc8b4c64290f26993c540b92aa145ac", "CC-BY-SA-3.0", "DBpedia-14"),
    "snli": _hub("stanfordnlp/snli", "cdb5c3d5eed6ead6e5a341c8e56e669bb666725b", "CC-BY-SA-4.0", "SNLI"),
    "mrpc": _glue("mrpc", "MRPC"),
    "rte": _glue("rte", "RTE"),
    "cola": _glue("cola", "CoLA"),
    "qnli": _glue("qnli", "QNLI"),
    "qqp": _glue("qqp", "QQP"),
    "mnli": _glue("mnli", "MNLI", "validation_matched"),
}  # fmt: skip
