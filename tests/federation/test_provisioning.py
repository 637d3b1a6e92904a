"""What `create` makes: kits that are whole, private and strict; and what it refuses."""

import json
import shutil
from pathlib import Path

import pytest

from fedbbpt.errors import ConfigError, FederationError, RunError
from fedbbpt.federation import certificates
from fedbbpt.federation.kits import Federation, open_kit
from fedbbpt.federation.provisioning import create


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Federation:
    """A federation of three sites whose server is elsewhere."""
    return create("study", ["c", "a", "b_2"], "fed.example.org", 8443, tmp_path_factory.mktemp("made"))


@pytest.fixture
def copy(study: Federation, tmp_path: Path) -> Federation:
    """A copy that a test may damage."""
    return Federation.open(shutil.copytree(study.folder, tmp_path / "study"))


def test_every_member_has_a_kit_of_its_own(study):
    assert study.description.sites == ("a", "b_2", "c")
    kits = [study.server, study.admin, *(open_kit(study.folder / "sites" / name, "site") for name in ("a", "b_2", "c"))]
    for kit in kits:
        kit.check()
    keys = {certificates.fingerprint(certificates.read_certificate(kit.certificate).public_key()) for kit in kits}
    assert len(keys) == 5


def test_a_kit_holds_one_key_and_only_its_owner_may_read_it(study):
    for name in ("server", "admin", "sites/a"):
        assert len(list((study.folder / name).rglob("*.key"))) == 1
    modes = {path.stat().st_mode & 0o777 for path in [study.folder, *study.folder.rglob("*")]}
    assert modes == {0o600, 0o700}


def test_certificates_are_valid_for_ten_years_and_name_the_host_of_the_server_alone(study):
    from cryptography.x509 import ExtendedKeyUsage, SubjectAlternativeName
    from cryptography.x509.oid import ExtendedKeyUsageOID

    server = certificates.read_certificate(study.server.certificate)
    site = certificates.read_certificate(study.folder / "sites" / "a" / "startup" / "client.crt")
    assert (server.not_valid_after_utc - server.not_valid_before_utc).days == 3650
    names = server.extensions.get_extension_for_class(SubjectAlternativeName).value
    assert {str(name.value) for name in names} == {"fed.example.org", "localhost", "127.0.0.1"}
    uses = [set(one.extensions.get_extension_for_class(ExtendedKeyUsage).value) for one in (server, site)]
    assert uses == [
        {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH},
        {ExtendedKeyUsageOID.CLIENT_AUTH},
    ]


def test_jobs_may_build_our_classes_alone_and_logs_stay(study):
    for name in ("server", "sites/a", "sites/b_2", "sites/c"):
        resources = json.loads((study.folder / name / "local" / "resources.json").read_text())
        assert resources["class_allow_list"] == ["fedbbpt.federation.flare.", "nvflare.app_common.logging."]
        assert resources["class_list_enforcement_mode"] == "enforce"
        assert not resources.get("allow_log_streaming")
        assert "log" not in " ".join(component["id"] for component in resources["components"])


def test_what_the_server_stores_is_in_its_kit(study):
    written = (study.folder / "server" / "local" / "resources.json").read_text()
    assert written.count(str(study.folder / "server" / "store")) == 2
    assert "/tmp/nvflare" not in written


def test_the_administrator_reaches_the_server_on_its_own_machine(study):
    addresses = [
        kit.description.host for kit in (study.server, study.admin, open_kit(study.folder / "sites/a", "site"))
    ]
    assert addresses == ["fed.example.org", "127.0.0.1", "fed.example.org"]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("study", ["a"]), "exists"),
        (("a/b", ["a"]), "cannot be called 'a/b'"),
        (("new", []), "--sites"),
        (("new", ["a", "b", "A"]), "once"),
        (("new", ["a", ""]), "cannot be called ''"),
        (("new", ["-a"]), "cannot be called '-a'"),
        (("new", ["server"]), "cannot be called 'server'"),
        (("new", ["a"], "fed.example.org:8002"), "without a port"),
        (("new", ["a"], "::1"), "IPv4"),
    ],
)
def test_what_cannot_be_made_is_refused_and_leaves_nothing(study, arguments, reason):
    before = sorted(study.folder.parent.iterdir())
    with pytest.raises((ConfigError, FederationError), match=reason):
        create(*arguments, out=study.folder.parent)
    assert sorted(study.folder.parent.iterdir()) == before


def test_a_kit_of_another_role_is_refused(study):
    with pytest.raises(FederationError, match="is the kit of a server, not of a site"):
        open_kit(study.folder / "server", "site")
    with pytest.raises(FederationError, match="no kit in"):
        open_kit(study.folder, "site")
    with pytest.raises(FederationError, match="no federation in"):
        Federation.open(study.folder / "server")


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        ("kit.toml", "format = 2", "format 2"),
        ("kit.toml", "format = 1", "damaged"),
        ("kit.toml", "][", "damaged"),
        ("startup/client.key", "", "no private key"),
        ("startup/client.crt", "", "no certificate"),
        ("startup/client.key", None, "--key"),
        ("startup/rootCA.pem", None, "no such file"),
    ],
)
def test_a_damaged_kit_is_refused(copy, file, content, reason):
    path = copy.folder / "sites" / "a" / file
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises((FederationError, RunError), match=reason):
        open_kit(copy.folder / "sites" / "a", "site").check()


def test_a_kit_under_anothers_name_or_with_anothers_files_is_refused(copy, tmp_path):
    a, c = (copy.folder / "sites" / name for name in ("a", "c"))
    stranger = create("stranger", ["a"], out=tmp_path).folder / "sites" / "a"
    cases = {
        "for 'a', not for 'c'": (c, ["startup/client.crt", "startup/client.key"], a),
        "does not belong": (a, ["startup/client.key"], c),
        "not issued by": (a, ["startup/rootCA.pem"], stranger),
    }
    for reason, (kit, files, source) in cases.items():
        changed = shutil.copytree(kit, tmp_path / reason.replace(" ", "-"))
        for file in files:
            shutil.copy(source / file, changed / file)
        with pytest.raises(FederationError, match=reason):
            open_kit(changed, "site").check()


@pytest.mark.parametrize(("start", "reason"), [(-20, "expired"), (10, "set the clock")])
def test_a_certificate_that_is_not_valid_today_is_refused(copy, start, reason):
    from datetime import UTC, datetime, timedelta

    from nvflare.lighter.utils import Identity, generate_cert

    authority = certificates.Authority.read(copy.folder / "authority")
    kit = open_kit(copy.folder / "sites" / "a", "site")
    begin = datetime.now(UTC) + timedelta(days=start)
    public_key = certificates.read_key(kit.key).public_key()
    made = generate_cert(
        Identity("a"),
        Identity("study"),
        authority.key,
        public_key,
        not_valid_before=begin,
        not_valid_after=begin + timedelta(days=10),
    )
    certificates.write_certificate(kit.certificate, made)
    with pytest.raises(FederationError, match=reason):
        kit.check()
