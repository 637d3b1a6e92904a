"""Small changes to an instruction, a phrase at a time, as in GrIPS (Prasad et al. 2023, arXiv 2203.07281).

There, phrases are deleted, swapped, paraphrased and put back. Ours go without a parser and a paraphrasing model: a
phrase ends at a mark.
"""

import re


def phrases(text: str) -> list[str]:
    """The parts of a text between marks, each with its mark."""
    return [part.strip() for part in re.findall(r"[^.,;:?!]+[.,;:?!]*", text) if part.strip()]


def unchanged(text: str) -> str:
    """The text."""
    return text


def without_first(text: str) -> str:
    """Without its first phrase, if it has several."""
    return " ".join(phrases(text)[1:]) or text


def without_last(text: str) -> str:
    """Without its last phrase, if it has several."""
    return " ".join(phrases(text)[:-1]) or text


def swapped(text: str) -> str:
    """With its last phrase first."""
    parts = phrases(text)
    return " ".join(parts[-1:] + parts[:-1]) if len(parts) > 1 else text


def said_twice(text: str) -> str:
    """Twice in a row."""
    return f"{text} {text}".strip()


EDITS = (unchanged, without_first, without_last, swapped, said_twice)
