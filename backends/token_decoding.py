"""Decodes the symbols that tokenizers use for spaces, line ends and bytes."""

import re

BYTE = re.compile(r"(?:<0x[0-9a-fA-F]{2}>)+")  # SentencePiece: bytes of characters without a token
SPACES = re.compile("▁|</w>")  # SentencePiece; BPE before GPT-2
JOINED = re.compile(r"^##|@@$")  # WordPiece, fairseq: no space before or after
CONTROL = re.compile(r"<[|｜].*[|｜]>|[<◁](think|thinking|thought|reasoning|seed:think)[▷>]|\[THINK\]")
LETTERS = str.maketrans("ĠĊĉ", " \n\t")  # GPT-2 and its descendants


def _bytes() -> dict[str, int]:
    """The byte that each character stands for in byte-level tokenizers (GPT-2 and its descendants)."""
    shown = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in shown]
    return {chr(byte): byte for byte in shown} | {chr(256 + i): byte for i, byte in enumerate(others)}


BYTES = _bytes()


def is_control_token(token: str) -> bool:
    """Whether a token opens reasoning or belongs to a chat template, and is no part of an answer."""
    return CONTROL.fullmatch(token.strip()) is not None


def readings(text: str) -> list[str]:
    """The possible readings of a text: without unambiguous symbols and, if that differs, also without ambiguous ones.

    >>> readings("Ġgood")
    ['Ġgood', ' good']
    """
    plain = BYTE.sub(lambda found: bytes.fromhex(re.sub("<0x|>", "", found[0])).decode("utf-8", "replace"), text)
    plain = JOINED.sub("", SPACES.sub(" ", plain))
    other = _decoded_bytes(plain) or plain.translate(LETTERS)
    return [plain] if other == plain else [plain, other]


def _decoded_bytes(text: str) -> str | None:
    """The text that the characters encode as bytes; None if they are not such an encoding, or not UTF-8."""
    if text.isascii() or not all(character in BYTES for character in text):
        return None
    try:
        return bytes(BYTES[character] for character in text).decode()
    except UnicodeDecodeError:
        return None
