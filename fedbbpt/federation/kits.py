"""A federation's folder and its kits: what each machine needs to take part.

    NAME/
      federation.toml    name, host, port, sites
      authority/         root certificate and its key, which signs all others; stays with whoever made the federation
      server/            kit of the server; what the server stores is here, too
      admin/             kit of the administrator, who submits jobs and asks for the status
      sites/SITE/        kit of a site, to be handed over as it is

A kit holds `kit.toml` (who it is for), `startup/` (certificate, key, address) and `local/` (what its machine allows).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, TypeVar

import tomli_w
from pydantic import TypeAdapter, ValidationError

from fedbbpt.errors import FederationError, MissingExtra
from fedbbpt.federation import certificates
from fedbbpt.run.atomic_files import reading, write_atomic
from fedbbpt.text_files import parse_toml, read_text

FORMAT = 1  # of the folders
NVFLARE = "2.9"  # `flare` uses parts of it that other versions have elsewhere

Role = Literal["server", "admin", "site"]
Description = TypeVar("Description", "FederationDescription", "KitDescription")


@dataclass(frozen=True)
class FederationDescription:
    """What `federation.toml` says."""

    name: str
    host: str  # under which sites reach the server
    port: int
    sites: tuple[str, ...]  # sorted
    format: int = FORMAT


@dataclass(frozen=True)
class KitDescription:
    """What `kit.toml` says."""

    federation: str
    role: Role
    name: str  # in its certificate
    host: str  # where it reaches the server
    port: int
    format: int = FORMAT


@dataclass(frozen=True)
class Kit:
    """What one member of a federation needs to take part."""

    folder: Path
    description: KitDescription

    @property
    def name(self) -> str:
        """The member's name, also in its certificate."""
        return self.description.name

    @property
    def startup(self) -> Path:
        """Folder of certificate, key and address."""
        return self.folder / "startup"

    @property
    def certificate(self) -> Path:
        """The member's certificate."""
        return self.startup / ("server.crt" if self.description.role == "server" else "client.crt")

    @property
    def key(self) -> Path:
        """The member's private key."""
        return self.certificate.with_suffix(".key")

    @property
    def root_certificate(self) -> Path:
        """Certificate of the federation's authority."""
        return self.startup / "rootCA.pem"

    @property
    def log(self) -> Path:
        """What the member's processes write."""
        return self.folder / "log.txt"

    def check(self) -> None:
        """Checks that the kit is whole, and its certificate its own and valid today.

        Raises:
            FederationError: it is not.
            MissingExtra: NVFlare is not installed.
        """
        if not self.key.exists():
            raise FederationError(
                f"the kit {self.folder} holds no key: give join --key the file that fedbbpt federation request has made"
            )
        with needs_nvflare():
            certificate = certificates.read_certificate(self.certificate)
            root = certificates.read_certificate(self.root_certificate)
            wrong = certificates.check_identity(certificate, certificates.read_key(self.key), root, self.name)
        if wrong is not None:
            raise FederationError(f"the kit {self.folder} cannot be used: {wrong}")


@dataclass(frozen=True)
class Federation:
    """A federation, on the machine where it was made."""

    folder: Path
    description: FederationDescription

    @classmethod
    def open(cls, folder: Path) -> "Federation":
        """Opens a federation's folder.

        Raises:
            FederationError: there is none, or it is damaged or of another version.
        """
        if not (folder / "federation.toml").exists():
            raise FederationError(f"there is no federation in {folder}: make one with fedbbpt federation create")
        return cls(folder, _read(folder / "federation.toml", FederationDescription))

    @property
    def name(self) -> str:
        """The federation's name."""
        return self.description.name

    @property
    def server(self) -> Kit:
        """The server's kit."""
        return open_kit(self.folder / "server", "server")

    @property
    def admin(self) -> Kit:
        """The administrator's kit."""
        return open_kit(self.folder / "admin", "admin")


def open_kit(folder: Path, role: Role) -> Kit:
    """Opens a kit.

    Raises:
        FederationError: it is no kit of that role, or it is damaged or of another version.
    """
    if not (folder / "kit.toml").exists():
        raise FederationError(f"there is no kit in {folder}: give the folder that fedbbpt federation create made")
    kit = Kit(folder, _read(folder / "kit.toml", KitDescription))
    if kit.description.role != role:
        raise FederationError(f"{folder} is the kit of a {kit.description.role}, not of a {role}: give another folder")
    return kit


def write_description(folder: Path, description: FederationDescription | KitDescription) -> None:
    """Writes `federation.toml` or `kit.toml`."""
    name = "kit.toml" if isinstance(description, KitDescription) else "federation.toml"
    write_atomic(folder / name, tomli_w.dumps(asdict(description)).encode())


@contextmanager
def needs_nvflare() -> Iterator[None]:
    """Turns an import of NVFlare, or of what comes with it, that fails into a `MissingExtra`.

    Raises:
        FederationError: another version of NVFlare is installed.
    """
    try:
        if not (installed := version("nvflare")).startswith(f"{NVFLARE}."):
            raise FederationError(
                f"a federation runs on NVFlare {NVFLARE}, and {installed} is installed: pip install "
                f'"nvflare=={NVFLARE}.*"'
            )
        yield
    except ImportError as e:
        raise MissingExtra("fedbbpt federation", "federation", e) from e


def _read(path: Path, kind: type[Description]) -> Description:
    """Reads a description and validates it."""
    with reading(path):
        try:
            values: dict[str, Any] = parse_toml(read_text(path))
            if values.get("format") != FORMAT:
                raise FederationError(
                    f"{path} is of format {values.get('format')}, and this fedbbpt reads format {FORMAT}: install the "
                    "version of fedbbpt that made it, or make the federation anew"
                )
            return TypeAdapter(kind).validate_python(values)
        except (ValueError, ValidationError) as e:
            raise FederationError(f"{path} is damaged: copy the folder again from where it was made") from e
