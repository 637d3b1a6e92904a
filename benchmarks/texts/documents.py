"""Texts from documents: mails, the Brown corpus, WordNet."""

import email
import email.policy
import json
import re
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import PurePosixPath

from fedbbpt.assets.archive import members
from fedbbpt_benchmarks.texts.example import TextExample, normalise, subsample

GENRES = {
    **{"a": "news", "b": "editorial", "c": "reviews", "d": "religion", "e": "hobbies", "f": "lore"},
    **{"g": "belles-lettres", "h": "government", "j": "learned", "k": "fiction", "l": "mystery"},
    **{"m": "science-fiction", "n": "adventure", "p": "romance", "r": "humor"},
}
PASSAGE = 5  # sentences
NOUNS = (
    *("Tops", "act", "animal", "artifact", "attribute", "body", "cognition", "communication", "event", "feeling"),
    *("food", "group", "location", "motive", "object", "person", "phenomenon", "plant", "possession", "process"),
    *("quantity", "relation", "shape", "state", "substance", "time"),
)
VERBS = (
    *("body", "change", "cognition", "communication", "competition", "consumption", "contact", "creation", "emotion"),
    *("motion", "perception", "possession", "social", "stative", "weather"),
)
SUPERSENSES = (*(f"noun.{name}" for name in NOUNS), *(f"verb.{name}" for name in VERBS))
FIRST = 3  # WordNet's number of noun.Tops
LIMIT, SENSE_LIMIT = 5000, 120


def spam() -> Iterator[TextExample]:
    """Mails of SpamAssassin's public corpus, subject and plain text; mails of one subject share a key."""
    for path, contents in members("spam-assassin", lambda p: p.startswith("package/data/") and p.count("/") == 3):
        if path.endswith(".json"):
            mail = email.message_from_string(json.loads(contents)["text"], policy=email.policy.compat32)
            subject = " ".join(str(mail.get("Subject", "")).split())
            thread = re.sub(r"^(re|fwd?): *", "", subject.casefold())
            label = "spam" if PurePosixPath(path).parts[2].startswith("spam") else "ham"
            yield TextExample(f"mail/{thread}", label, normalise(f"{subject}\n{_body(mail)}"))


def _body(mail: EmailMessage) -> str:
    """The plain text of a mail, else its HTML without tags."""
    parts = [part for part in mail.walk() if part.get_content_maintype() == "text"]
    plain = [part for part in parts if part.get_content_subtype() == "plain"]
    text = "\n".join((part.get_payload(decode=True) or b"").decode("latin-1") for part in plain or parts)
    return text if plain else re.sub(r"<[^>]*>", " ", text)


def brown() -> Iterator[TextExample]:
    """Passages of five sentences by genre (Francis & Kučera 1964); passages of one document share a key."""

    def passages() -> Iterator[TextExample]:
        for path, contents in members("brown", lambda p: re.fullmatch(r"package/c[a-r]\d\d", p) is not None):
            name = PurePosixPath(path).name
            sentences = [line.strip() for line in contents.decode("latin-1").splitlines() if line.strip()]
            for start in range(0, len(sentences) - PASSAGE + 1, PASSAGE):
                words = " ".join(sentences[start : start + PASSAGE]).split()
                text = " ".join(word.rpartition("/")[0] for word in words).replace("``", '"').replace("''", '"')
                yield TextExample(f"brown/{name}", GENRES[name[1]], normalise(text))

    return subsample(passages(), LIMIT)


def supersenses() -> Iterator[TextExample]:
    """Definitions of WordNet 3.0 (Fellbaum 1998) by the supersense of the defined word."""

    def glosses() -> Iterator[TextExample]:
        for _, contents in members("wordnet", lambda p: p.endswith(("/data.noun", "/data.verb"))):
            for line in contents.decode().splitlines():
                if not line.startswith(" "):  # the licence
                    data, _, gloss = line.partition("|")
                    label = SUPERSENSES[int(data.split()[1]) - FIRST]
                    yield TextExample(f"wordnet/{gloss.strip()}", label, normalise(gloss))

    return subsample(glosses(), len(SUPERSENSES) * SENSE_LIMIT, SENSE_LIMIT)
