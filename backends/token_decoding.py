"""What tokens say: the signs that tokenizers write for a space, a line's end or a byte, read as what they stand for."""

import re

BYTE = re.compile(r"(?:<0x[0-9a-fA-F]{2}>)+")  # SentencePiece, of characters that it has no token for
SPACES = re.compile("▁|</w>")  # SentencePiece; BPE before GPT-2
JOINED = re.compile(r"^##|@@$")  # WordPiece, fairseq: no space between this and its neighbour
CONTROL = re.compile(r"<[|｜].*[|｜]>|[<◁](think|thinking|thought|reasoning|seed:think)[▷>]|\[THINK\]")
LETTERS = str.maketrans("ĠĊĉ", " \n\t")  # GPT-2 and its heirs


def _bytes() -> dict[str, int]:
    """The character that byte-level tokenizers (GPT-2 and its heirs) write for each byte."""
    shown = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in shown]
    return {chr(byte): byte for byte in shown} | {chr(256 + i): byte for i, byte in enumerate(others)}


BYTES = _bytes()


def is_control(token: str) -> bool:
    """Whether a token opens a thought, or belongs to a chat's template; no text says it."""
    return CONTROL.fullmatch(token.strip()) is not None


def readings(text: str) -> list[str]:
    """The text without signs that nobody else writes, and as it reads if some of its letters are signs, too."""
    plain = BYTE.sub(lambda found: bytes.fromhex(re.sub("<0x|>", "", found[0])).decode("utf-8", "replace"), text)
    plain = JOINED.sub("", SPACES.sub(" ", plain))
    other = _of_bytes(plain) or plain.translate(LETTERS)
    return [plain] if other == plain else [plain, other]


def _of_bytes(text: str) -> str | None:
    """What the characters stand for, if each is a byte's, some are not their own, and all together are UTF-8."""
    if text.isascii() or not all(character in BYTES for character in text):
        return None
    try:
        return bytes(BYTES[character] for character in text).decode()
    except UnicodeDecodeError:
        return None
