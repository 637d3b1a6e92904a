"""The certificates of a federation: a root, which signs those of the server, its administrator and every site.

Private keys are RSA of 2,048 bits, as NVFlare makes them; only their owner can read the files that hold one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedbbpt.errors import FederationError
from fedbbpt.run.atomic_files import reading, write_atomic, writing
from fedbbpt.web.credentials import OWNER_ONLY

if TYPE_CHECKING:
    from cryptography.x509 import Certificate, CertificateSigningRequest

VALID = timedelta(days=3650)
CLOCK_TOLERANCE = timedelta(days=1)  # a site's clock may be that late when the federation is made
ORGANISATION = "fedbbpt"


@dataclass(frozen=True)
class Authority:
    """The root certificate of a federation, and the key that signs with it."""

    certificate: "Certificate"
    key: Any

    @classmethod
    def new(cls, federation: str) -> "Authority":
        """Makes a root certificate for a federation."""
        from nvflare.lighter.utils import Identity, generate_cert, generate_keys

        key, public_key = generate_keys()
        start = datetime.now(UTC) - CLOCK_TOLERANCE
        name = Identity(federation)
        certificate = generate_cert(
            name, name, key, public_key, ca=True, not_valid_before=start, not_valid_after=start + VALID
        )
        return cls(certificate, key)

    @classmethod
    def read(cls, folder: Path) -> "Authority":
        """Reads what `write` wrote.

        Raises:
            FederationError: a file is missing or damaged.
        """
        return cls(read_certificate(folder / "rootCA.pem"), read_key(folder / "rootCA.key"))

    def write(self, folder: Path) -> None:
        """Writes certificate and key."""
        write_certificate(folder / "rootCA.pem", self.certificate)
        write_key(folder / "rootCA.key", self.key)

    def issue(self, name: str, public_key: Any, *, role: str | None = None, hosts: Sequence[str] = ()) -> "Certificate":
        """A certificate for `name`; with `hosts`, it is a server's that is reached by these names or addresses.

        Without them, it is a client's: whoever holds it cannot pass for the server, even if the name is that of a host.
        """
        from cryptography.x509 import Certificate, ExtendedKeyUsage
        from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
        from nvflare.lighter.utils import Identity, generate_cert

        uses = [ExtendedKeyUsageOID.CLIENT_AUTH, *([ExtendedKeyUsageOID.SERVER_AUTH] if hosts else [])]
        issuer = self.certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
        certificate: Certificate = generate_cert(
            Identity(name, ORGANISATION, role),
            Identity(issuer),
            self.key,
            public_key,
            server_default_host=hosts[0] if hosts else None,
            server_additional_hosts=list(hosts[1:]),
            not_valid_before=self.certificate.not_valid_before_utc,
            not_valid_after=self.certificate.not_valid_after_utc,
            extra_extensions=[(ExtendedKeyUsage(uses), False)],
        )
        return certificate


def new_key() -> Any:
    """A new private key."""
    from nvflare.lighter.utils import generate_keys

    return generate_keys()[0]


def common_name(certificate: "Certificate | CertificateSigningRequest") -> str:
    """The name that a certificate, or a request for one, is for; empty if it has none."""
    from cryptography.x509.oid import NameOID

    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if names else ""


def fingerprint(public_key: Any) -> str:
    """SHA-256 of a public key in groups of four digits, to be compared by telephone."""
    import hashlib

    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    digest = hashlib.sha256(public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()
    return " ".join(digest[i : i + 4] for i in range(0, 32, 4))


def check_identity(certificate: "Certificate", key: Any, root: "Certificate", name: str) -> str | None:
    """What is wrong with a certificate for `name`: a reason that stands in the caller's sentence, or None."""
    from cryptography.exceptions import InvalidSignature

    if common_name(certificate) != name:
        return f"its certificate is for {common_name(certificate)!r}, not for {name!r}"
    if certificate.public_key() != key.public_key():
        return "its key does not belong to its certificate"
    try:
        certificate.verify_directly_issued_by(root)
    except (InvalidSignature, ValueError, TypeError):
        return "its certificate was not issued by the federation whose root certificate it holds"
    now = datetime.now(UTC)
    if now < certificate.not_valid_before_utc:
        return (
            f"its certificate is valid from {certificate.not_valid_before_utc:%Y-%m-%d}, and this machine's clock says "
            f"{now:%Y-%m-%d}: set the clock"
        )
    if now > certificate.not_valid_after_utc:
        return (
            f"its certificate expired on {certificate.not_valid_after_utc:%Y-%m-%d}: make the federation anew, or set "
            f"this machine's clock, which says {now:%Y-%m-%d}"
        )
    return None


def read_certificate(path: Path) -> "Certificate":
    """Reads a certificate in PEM form.

    Raises:
        FederationError: it is not there, or is none.
    """
    from cryptography.x509 import load_pem_x509_certificate

    try:
        with reading(path):
            content = path.read_bytes()
        return load_pem_x509_certificate(content)
    except ValueError as e:
        raise FederationError(f"{path} holds no certificate; the kit is damaged: copy it again") from e


def read_key(path: Path) -> Any:
    """Reads a private key in PEM form.

    Raises:
        FederationError: it is not there, or is none.
    """
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        with reading(path):
            content = path.read_bytes()
        return load_pem_private_key(content, password=None)
    except (ValueError, TypeError) as e:
        raise FederationError(f"{path} holds no private key; the kit is damaged: copy it again") from e


def write_certificate(path: Path, certificate: "Certificate") -> None:
    """Writes a certificate in PEM form."""
    from nvflare.lighter.utils import serialize_cert

    with writing(path):
        path.write_bytes(serialize_cert(certificate))


def write_key(path: Path, key: Any) -> None:
    """Writes a private key in PEM form, readable by its owner alone."""
    from nvflare.lighter.utils import serialize_pri_key

    write_atomic(path, serialize_pri_key(key), OWNER_ONLY)
