"""The pages for readers, and their parts: blocks of code, sentences and links."""

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
FIRST = ("README.md", "CONTRIBUTING.md", "SECURITY.md")
PAGES = [*(ROOT / name for name in FIRST), *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"(?ms)^(?P<indent> *)```(?P<language>\w*)\n(?P<content>.*?)^(?P=indent)```$")


class Block(NamedTuple):
    """A block of code on a page."""

    page: str
    line: int
    language: str
    content: str


def blocks(page: Path) -> list[Block]:
    """All blocks of code of a page."""
    text = page.read_text("utf-8")
    name = str(page.relative_to(ROOT))
    return [
        Block(name, text.count("\n", 0, found.start()) + 1, found["language"], found["content"])
        for found in FENCE.finditer(text)
    ]


def sentences(text: str) -> list[str]:
    """The sentences of a page's prose: no code, tables, headings, quotations or formulas."""
    text = re.sub(r"(?s)^---\n.*?\n---\n", "", FENCE.sub("\n\n", text))
    text = re.sub(r"\$[^$\n]+\$", "X", text)
    text = re.sub(r"`[^`\n]+`", "X", text)
    text = re.sub(r"!\[[^]]*\]\([^)]*\)", "", text)
    text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", text)
    found = []
    for paragraph in re.split(r"\n\s*\n|\n(?=\s*(?:[-*]|\d+\.) )", text):
        if not re.match(r"\s*(?:#|\||>|:::|<)", paragraph):
            plain = re.sub(r"\*\*|^\s*(?:[-*]|\d+\.) ", "", " ".join(paragraph.split()))
            found += re.split(r'(?<=[.!?])[)”"]? +(?=[A-Z“"(θρεαλσµ\d])', plain)
    return [sentence for sentence in found if sentence]


def words(sentence: str) -> int:
    """How many words a sentence has; marks alone are none."""
    return len(re.findall(r"\S*\w\S*", sentence))
