"""A site's key is made at the site, and never leaves it."""

import shutil
from pathlib import Path

import pytest

from fedbbpt.errors import FederationError
from fedbbpt.federation import certificates
from fedbbpt.federation.kits import Federation, Kit
from fedbbpt.federation.provisioning import create
from fedbbpt.federation.signing import add_key, request, sign


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Federation:
    """A federation whose sites make their own keys."""
    return create("study", ["a", "b"], out=tmp_path_factory.mktemp("made"), distributed=True)


@pytest.fixture(scope="module")
def signed(study: Federation, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Kit]:
    """The folder of a's own files, and the kit that it gets back."""
    at_site = tmp_path_factory.mktemp("a")
    of_request = request("study", "a", at_site)
    kit, seen = sign(study, at_site / "a.csr")
    assert of_request == seen
    return at_site, kit


def test_the_operator_holds_no_key_of_a_site(study, signed):
    at_site, kit = signed
    key = (at_site / "a.key").read_text()
    assert not [path for path in study.folder.rglob("*") if path.is_file() and key in path.read_text()]
    assert (at_site / "a.key").stat().st_mode & 0o777 == 0o600
    assert {path.name for path in kit.startup.iterdir()} == {"client.crt", "rootCA.pem", "fed_client.json"}


def test_the_kit_is_complete_with_the_key(signed, tmp_path):
    at_site, kit = signed
    received = Kit(shutil.copytree(kit.folder, tmp_path / "kit"), kit.description)
    with pytest.raises(FederationError, match="--key"):
        received.check()
    add_key(received, at_site / "a.key")
    received.check()
    add_key(received, at_site / "a.key")  # as often as the site joins
    assert received.key.stat().st_mode & 0o777 == 0o600


def test_another_key_is_refused(signed, tmp_path):
    _, kit = signed
    certificates.write_key(tmp_path / "other.key", certificates.new_key())
    with pytest.raises(FederationError, match="not the key of the kit"):
        add_key(kit, tmp_path / "other.key")
    assert not kit.key.exists()


def test_a_request_is_signed_once_and_only_for_a_site_of_the_federation(study, signed, tmp_path):
    at_site, _ = signed
    with pytest.raises(FederationError, match="a has a kit already"):
        sign(study, at_site / "a.csr")
    for federation, site, reason in (("study", "z", "study has a, b"), ("other", "b", "for the federation 'other'")):
        request(federation, site, tmp_path / site)
        with pytest.raises(FederationError, match=reason):
            sign(study, tmp_path / site / f"{site}.csr")
    assert not (study.folder / "sites" / "b").exists()


def test_a_request_that_was_changed_is_refused(study, tmp_path):
    from cryptography.hazmat.primitives.serialization import Encoding
    from cryptography.x509 import load_pem_x509_csr

    request("study", "b", tmp_path)
    der = load_pem_x509_csr((tmp_path / "b.csr").read_bytes()).public_bytes(Encoding.DER)
    from base64 import encodebytes

    changed = encodebytes(der[:-1] + bytes([der[-1] ^ 1])).decode()
    (tmp_path / "b.csr").write_text(
        f"-----BEGIN CERTIFICATE REQUEST-----\n{changed}-----END CERTIFICATE REQUEST-----\n"
    )
    with pytest.raises(FederationError, match="no request"):
        sign(study, tmp_path / "b.csr")
    (tmp_path / "b.csr").write_text("nothing")
    with pytest.raises(FederationError, match="no request"):
        sign(study, tmp_path / "b.csr")


def test_a_key_is_not_overwritten(signed):
    at_site, _ = signed
    before = (at_site / "a.key").read_bytes()
    with pytest.raises(FederationError, match="exists"):
        request("study", "a", at_site)
    assert (at_site / "a.key").read_bytes() == before
