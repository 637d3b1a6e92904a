"""Keys that never leave their site: the site makes one and asks for a certificate, the federation's operator signs it.

site      request(NAME, SITE)              SITE.key, which stays, and SITE.csr, which goes to the operator
operator  sign(federation, SITE.csr)       the site's kit, without a key
site      add_key(kit, SITE.key)           the kit is complete
"""

from pathlib import Path
from typing import TYPE_CHECKING

from fedbbpt.errors import FederationError
from fedbbpt.federation import certificates
from fedbbpt.federation.certificates import ORGANISATION, Authority
from fedbbpt.federation.kits import Federation, Kit, needs_nvflare
from fedbbpt.federation.provisioning import check_name, protect, write_kits
from fedbbpt.printing import short_repr
from fedbbpt.run.atomic_files import reading, writing

if TYPE_CHECKING:
    from cryptography.x509 import CertificateSigningRequest

SMALLEST_KEY = 2048  # bits


def request(federation: str, site: str, out: Path = Path()) -> str:
    """Makes a site's key and the request for its certificate, `out/SITE.key` and `out/SITE.csr`.

    Returns: the key's fingerprint, which the operator compares.

    Raises:
        ConfigError: a name cannot be used.
        FederationError: there is such a file already.
        MissingExtra: NVFlare is not installed.
    """
    check_name("federation", federation)
    check_name("site", site)
    key_file, request_file = out / f"{site}.key", out / f"{site}.csr"
    for file in (key_file, request_file):
        if file.exists():
            raise FederationError(f"{file} exists: use it, or give --out another folder")
    with needs_nvflare():
        from cryptography import x509
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.serialization import Encoding
        from cryptography.x509.oid import NameOID

        key = certificates.new_key()
        subject = x509.Name(
            [
                x509.NameAttribute(NameOID.COMMON_NAME, site),
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, ORGANISATION),
                x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, federation),
            ]
        )
        wanted = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, SHA256())
        with writing(out):
            out.mkdir(parents=True, exist_ok=True)
        certificates.write_key(key_file, key)
        with writing(request_file):
            request_file.write_bytes(wanted.public_bytes(Encoding.PEM))
        return certificates.fingerprint(key.public_key())


def sign(federation: Federation, request_file: Path) -> tuple[Kit, str]:
    """Signs a site's request: writes its kit, without a key. Gives the kit and the fingerprint of the site's key.

    Raises:
        FederationError: the request is none, is not for a site of this federation, or the site has a kit already.
        MissingExtra: NVFlare is not installed.
    """
    with needs_nvflare():
        wanted = _read_request(request_file)
        site = certificates.common_name(wanted)
        if site not in federation.description.sites:
            known = ", ".join(federation.description.sites)
            raise FederationError(f"{request_file} is for the site {short_repr(site)}; {federation.name} has {known}")
        if _federation_of(wanted) != federation.name:
            raise FederationError(
                f"{request_file} is for the federation {short_repr(_federation_of(wanted))}, not for {federation.name}"
            )
        folder = federation.folder / "sites" / site
        if folder.exists():
            raise FederationError(f"{folder} exists: {site} has a kit already; remove it to sign another key")
        authority = Authority.read(federation.folder / "authority")
        (kit,) = write_kits(federation, authority, {site: wanted.public_key()})
        protect(kit.folder)
        return kit, certificates.fingerprint(wanted.public_key())


def add_key(kit: Kit, key_file: Path) -> None:
    """Puts a site's key into its kit.

    Raises:
        FederationError: it is no key, or not that of the kit.
        MissingExtra: NVFlare is not installed.
    """
    with needs_nvflare():
        key = certificates.read_key(key_file)
        if key.public_key() != certificates.read_certificate(kit.certificate).public_key():
            raise FederationError(f"{key_file} is not the key of the kit {kit.folder}: give that which was made for it")
        if not kit.key.exists():
            certificates.write_key(kit.key, key)


def _read_request(path: Path) -> "CertificateSigningRequest":
    """Reads a request, whose signature shows that whoever made it has the key."""
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from cryptography.x509 import load_pem_x509_csr

    with reading(path):
        content = path.read_bytes()
    try:
        wanted = load_pem_x509_csr(content)
        key = wanted.public_key()
        sound = wanted.is_signature_valid and isinstance(key, RSAPublicKey) and key.key_size >= SMALLEST_KEY
    except ValueError:
        sound = False
    if not sound:
        raise FederationError(f"{path} is no request of fedbbpt federation request, or it is damaged: ask for it again")
    return wanted


def _federation_of(wanted: "CertificateSigningRequest") -> str:
    from cryptography.x509.oid import NameOID

    names = wanted.subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)
    return str(names[0].value) if names else ""
