"""What a machine of the federation allows, and how it waits: `local/` of a kit, made from NVFlare's template."""

import json
from pathlib import Path
from typing import Any

from fedbbpt.run.atomic_files import reading, write_json, writing

# A job may build nothing else: code of ours that is installed, and NVFlare's own logging.
ALLOWED_CLASSES = ["fedbbpt.federation.flare.", "nvflare.app_common.logging."]
# What a job's submitter may do at a site. Whatever is missing is refused: to read files of the site by NVFlare's shell
# commands, to stop or restart it, to send code along.
SITE_PERMISSIONS = {"submit_job": "any", "manage_job": "any", "view": "any"}
HEARTBEAT_TIMEOUT = 30  # seconds after which the server takes a silent site for gone; NVFlare's is 600
RETRY_INTERVAL = 0.5  # seconds between a site's attempts to register; NVFlare's is 2
MESSAGE_TIMEOUT = 10  # seconds to wait for the server's answer to a heartbeat; NVFlare's is 30
MAX_SITES = 10_000  # NVFlare's is 100
LOG = {  # all of it to standard output, which whoever started the process writes to one file
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {
            "()": "nvflare.fuel.utils.log_utils.BaseFormatter",
            "fmt": "%(asctime)s %(levelname)s %(name)s: %(message)s",
        }
    },
    "handlers": {"stdout": {"class": "logging.StreamHandler", "formatter": "line", "stream": "ext://sys.stdout"}},
    "loggers": {
        "root": {"level": "INFO", "handlers": ["stdout"]},
        # Else they write a line or two for every request of a site to a body.
        "nvflare.apis.utils.reliable_message": {"level": "WARNING"},
        "httpx2": {"level": "WARNING"},
    },
}
MEMBERSHIP = {"id": "membership", "path": "fedbbpt.federation.membership.Membership", "args": {}}
LOG_COMPONENTS = {"log_receiver", "site_log_streamer"}  # that send or take a site's logs


def write_server_settings(kit: Path) -> None:
    """Writes the settings of a server for where its kit is now: what it stores stays in the kit."""
    resources = _restricted(kit)
    resources["servers"][0] |= {"heart_beat_timeout": HEARTBEAT_TIMEOUT, "max_num_clients": MAX_SITES}
    store = kit.absolute() / "store"
    resources["snapshot_persistor"]["args"]["storage"]["args"]["root_dir"] = str(store / "snapshots")
    manager = next(one for one in resources["components"] if one["id"] == "job_manager")
    manager["args"]["uri_root"] = str(store / "jobs")
    write_json(kit / "local" / "resources.json", resources)
    write_json(kit / "local" / "log_config.json", LOG)


def write_site_settings(kit: Path) -> None:
    """Writes the settings of a site."""
    resources = _restricted(kit)
    resources["allow_log_streaming"] = False
    resources["client"] |= {"client_register_interval": RETRY_INTERVAL, "maint_msg_timeout": MESSAGE_TIMEOUT}
    resources["components"].append(MEMBERSHIP)
    write_json(kit / "local" / "resources.json", resources)
    permissions = {"format_version": "1.0", "permissions": {"project_admin": SITE_PERMISSIONS}}
    write_json(kit / "local" / "authorization.json", permissions)
    write_json(kit / "local" / "log_config.json", LOG)


def _restricted(kit: Path) -> Any:
    """The template's resources, with the classes that a job may build."""
    template = kit / "local" / "resources.json.default"
    with reading(template):
        resources = json.loads(template.read_bytes())
    components = [one for one in resources["components"] if one["id"] not in LOG_COMPONENTS]
    return resources | {"class_allow_list": ALLOWED_CLASSES, "components": components}


def remove_scripts(kit: Path) -> None:
    """Removes what `fedbbpt federation` does not use: NVFlare's scripts, which restart for ever, and its notes."""
    with writing(kit):
        for pattern in ("startup/*.sh", "startup/*.ipynb", "local/*.sample", "readme.txt"):
            for path in kit.glob(pattern):
                path.unlink()
