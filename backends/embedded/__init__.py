"""The embedded black box: weights, provider heads, card and notices as package data (see README.md in this folder)."""

from pathlib import Path

FOLDER = Path(__file__).parent
HEADS = FOLDER / "heads"
