"""Sentences stay short, pages too, and links lead somewhere."""

import re
from pathlib import Path

import pytest

from tests.documentation.pages import FENCE, PAGES, ROOT, sentences, words

MOST_WORDS = 35  # of a sentence
MOST_LINES = {"README.md": 150}  # else 250


def ids(page: Path) -> str:
    return page.name


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_sentences_are_short(page: Path) -> None:
    assert not [one for one in sentences(page.read_text("utf-8")) if words(one) > MOST_WORDS]


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_pages_are_short(page: Path) -> None:
    most = MOST_LINES.get(page.name, 250)
    assert len(page.read_text("utf-8").splitlines()) <= most


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\((?!https?:)([^)\s]+)\)", FENCE.sub("", page.read_text("utf-8"))):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


def anchors(page: Path) -> set[str]:
    """Those of a page's headings, as code platforms and the site make them."""
    headings = re.findall(r"(?m)^#+ (.*)$", FENCE.sub("", page.read_text("utf-8")))
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_readme_says_at_once_what_it_is_and_for_whom() -> None:
    lines = (ROOT / "README.md").read_text("utf-8").splitlines()
    assert any("Federated black-box prompt tuning" in line for line in lines[:10])
    assert any("It is for you" in line for line in lines[:20])


def test_every_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text("utf-8").partition("\nnav:")[2]
    assert {page.name for page in PAGES if page.parent == ROOT / "docs"} == set(re.findall(r"[\w-]+\.md", navigation))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("One. Two (three, four. Five) six!\n\n- Seven\n- Eight: nine", ["One.", "Two (three, four.", "Five) six!"]),
        ("```bash\nno words here\n```\nA `b c d` e [f g](h).", ["A X e f g."]),
        ("# Heading\n\n| a | table |\n\n> a quotation\n", []),
    ],
)
def test_sentences_are_those_of_the_prose(text: str, found: list[str]) -> None:
    assert sentences(text)[: len(found)] == found


def test_words_are_counted_without_marks() -> None:
    assert words("the mean ± .3, of X – and 16 more") == 8
