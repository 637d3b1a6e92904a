"""Makes a federation and its kits, with NVFlare's provisioning; certificates and permissions are ours."""

import json
import logging
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fedbbpt.errors import ConfigError, FederationError
from fedbbpt.federation import certificates, local_settings
from fedbbpt.federation.certificates import ORGANISATION, Authority
from fedbbpt.federation.kits import (
    Federation,
    FederationDescription,
    Kit,
    KitDescription,
    Role,
    needs_nvflare,
    write_description,
)
from fedbbpt.printing import short_repr
from fedbbpt.run.atomic_files import reading, write_json, writing
from fedbbpt.web.credentials import OWNER_ONLY

LOOPBACK = "127.0.0.1"
DEFAULT_PORT = 8002
SERVER = "server"
ADMIN = "admin@fedbbpt.org"  # NVFlare wants an e-mail address; nothing is sent to it
ADMIN_ROLE = "project_admin"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,47}")
LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?"
HOST = re.compile(rf"(?=.{{1,200}}$){LABEL}(\.{LABEL})*")


def create(
    name: str,
    sites: Sequence[str],
    host: str = LOOPBACK,
    port: int = DEFAULT_PORT,
    out: Path = Path(),
    *,
    distributed: bool = False,
) -> Federation:
    """Makes a federation in `out/name`: certificates, and the kits of the server, the administrator and all sites.

    With `distributed`, sites make their own keys, and get their kits by `signing`.

    Raises:
        ConfigError: a name or the host cannot be used.
        FederationError: there is such a folder already.
        MissingExtra: NVFlare is not installed.
    """
    check_name("federation", name)
    for site in sites:
        check_name("site", site)
    if not sites or len({site.lower() for site in sites}) < len(sites):
        raise ConfigError("give --sites each site's name once, separated by commas: --sites a,b,c")
    if not HOST.fullmatch(host):
        raise ConfigError(f"{short_repr(host)} is no host: give --server a name or an IPv4 address, without a port")
    folder = out / name
    if folder.exists():
        raise FederationError(f"{folder} exists: choose another name, or remove it if it is not needed any more")
    with _new_folder(folder) as made:
        federation = Federation(made, FederationDescription(name, host, port, tuple(sorted(sites))))
        write_description(made, federation.description)
        with needs_nvflare():
            authority = Authority.new(name)
            (made / "authority").mkdir()
            authority.write(made / "authority")
            keys = {name: certificates.new_key() for name in (SERVER, ADMIN, *([] if distributed else sites))}
            kits = write_kits(federation, authority, {name: key.public_key() for name, key in keys.items()})
            for kit in kits:
                certificates.write_key(kit.key, keys[kit.name])
    local_settings.write_server_settings(folder / "server")  # they name the folder where it is now
    protect(folder / "server" / "local")
    return Federation.open(folder)


def check_name(what: str, name: str) -> None:
    """Checks a name of a federation or a site.

    Raises:
        ConfigError: it cannot be used.
    """
    if not NAME.fullmatch(name) or name == SERVER:
        raise ConfigError(
            f"a {what} cannot be called {short_repr(name)}: use up to 48 letters, digits, - and _, first a letter or "
            f"digit, and not {SERVER!r}"
        )


def write_kits(federation: Federation, authority: Authority, public_keys: dict[str, Any]) -> list[Kit]:
    """Writes the kits of some members, by name and public key; all that they lack are the private keys."""
    kits = []
    host, port = federation.description.host, federation.description.port
    with tempfile.TemporaryDirectory(dir=federation.folder, prefix=".") as temporary:
        written = _provision(federation, [name for name in public_keys if name not in (SERVER, ADMIN)], Path(temporary))
        for name, public_key in public_keys.items():
            role, folder = _place(federation, name)
            folder.parent.mkdir(exist_ok=True)
            shutil.move(written / name, folder)
            # The administrator works on the server's machine.
            address = LOOPBACK if role == "admin" else host
            kit = Kit(folder, KitDescription(federation.name, role, name, address, port))
            write_description(folder, kit.description)
            hosts = list(dict.fromkeys([host, "localhost", LOOPBACK])) if role == "server" else []
            certificate = authority.issue(name, public_key, role=ADMIN_ROLE if role == "admin" else None, hosts=hosts)
            certificates.write_certificate(kit.certificate, certificate)
            certificates.write_certificate(kit.root_certificate, authority.certificate)
            _write_settings(kit)
            local_settings.remove_scripts(folder)
            kits.append(kit)
    return kits


def _place(federation: Federation, name: str) -> tuple[Role, Path]:
    """The role of a member, and the folder of its kit."""
    if name == SERVER:
        return "server", federation.folder / "server"
    return ("admin", federation.folder / "admin") if name == ADMIN else ("site", federation.folder / "sites" / name)


def _write_settings(kit: Kit) -> None:
    """Writes what the machine of a kit allows, and where the server listens."""
    if kit.description.role == "site":
        local_settings.write_site_settings(kit.folder)
    elif kit.description.role == "server":
        path = kit.startup / "fed_server.json"
        with reading(path):
            settings = json.loads(path.read_bytes())
        # NVFlare listens on loopback if this host is, and else on all interfaces.
        settings["servers"][0]["service"]["target"] = f"{kit.description.host}:{kit.description.port}"
        write_json(path, settings)


def _provision(federation: Federation, sites: Sequence[str], workspace: Path) -> Path:
    """Lets NVFlare write the kits of the server, the administrator and some sites, without certificates.

    Returns: the folder with one kit per member, by name.
    """
    from nvflare.lighter.entity import Participant, Project
    from nvflare.lighter.impl.static_file import StaticFileBuilder
    from nvflare.lighter.impl.workspace import WorkspaceBuilder
    from nvflare.lighter.provisioner import Provisioner

    host, port = federation.description.host, federation.description.port
    server = Participant("server", SERVER, ORGANISATION, {"default_host": host, "fed_learn_port": port})
    local = {"role": ADMIN_ROLE, "connect_to": {"host": LOOPBACK}}
    members = [server, Participant("admin", ADMIN, ORGANISATION, local)]
    members += [Participant("client", site, ORGANISATION, {"allow_log_streaming": False}) for site in sites]
    builders = [WorkspaceBuilder(), StaticFileBuilder(config_folder="config", scheme="grpc")]
    project = Project(federation.name, federation.name, members)
    context = Provisioner(str(workspace), builders).provision(project, logger=logging.getLogger(__name__))
    if errors := context.get_errors():
        raise FederationError(f"NVFlare cannot write the kits: {errors[0]}")
    return Path(context.get_result_location())


@contextmanager
def _new_folder(folder: Path) -> Iterator[Path]:
    """A folder beside `folder`, for its owner alone, which takes that name once it is complete."""
    with writing(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
        try:
            yield temporary
            protect(temporary)
            temporary.rename(folder)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise


def protect(folder: Path) -> None:
    """Takes all rights on a folder and what it holds from everybody but the owner."""
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o700 if path.is_dir() else OWNER_ONLY)
