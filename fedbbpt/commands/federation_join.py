"""`fedbbpt federation join`: at a site, what it brings is checked and kept, and it takes part."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fedbbpt.errors import ConfigError
from fedbbpt.printing import one_line

if TYPE_CHECKING:
    from fedbbpt.federation.site_config import SiteConfig

once_option = click.option("--once", is_flag=True, help="Do not start NVFlare's process again if it ends by itself.")


@click.command(short_help="At a site: take part in a federation.")
@click.argument("folder", metavar="KIT", type=click.Path(path_type=Path))
@click.option("--data", help="The site's data: folder:PATH, or csv:, jsonl: or parquet:PATH.")
@click.option("--backend", help="The site's way to the model  [default: local-vit; hf-text for texts].")
@click.option("--policy", type=click.Path(path_type=Path), help="TOML file of what the site allows to a run.")
@click.option("-o", "overrides", multiple=True, metavar="KEY=VALUE", help="Any setting: -o policy.max_queries=5000.")
@click.option("--key", type=click.Path(path_type=Path), help="The site's key, where federation request has made one.")
@click.option("--check", is_flag=True, help="Check everything, and do not take part yet.")
@once_option
def join(
    folder: Path,
    data: str | None,
    backend: str | None,
    policy: Path | None,
    overrides: tuple[str, ...],
    key: Path | None,
    check: bool,
    once: bool,
) -> None:
    """Take part in a federation until Ctrl-C, with the site's own data, its way to the model, and its limits.

    They are written to site.toml in the KIT, where no run can change them, and are used again if --data is left out.
    """
    from fedbbpt.federation.kits import open_kit
    from fedbbpt.federation.nodes import run_site, sigterm_interrupts
    from fedbbpt.federation.signing import add_key
    from fedbbpt.federation.site_check import check_site

    kit = open_kit(folder, "site")
    if key is not None:
        add_key(kit, key)
    kit.check()
    own = _site_config(folder, data, backend, policy, overrides)
    try:
        with sigterm_interrupts():
            for name, text in [*check_site(own, kit.name), ("kit", f"{kit.name} of {kit.description.federation}")]:
                click.echo(f"{name:10}{one_line(text)}")
            own.write(folder)
            if check:
                click.echo(f"Next: fedbbpt federation join {one_line(str(folder))} takes part with these.")
            else:
                run_site(kit, click.echo, once=once)
    except KeyboardInterrupt:
        click.echo(f"{kit.name} has left.")


def _site_config(
    folder: Path, data: str | None, backend: str | None, policy: Path | None, overrides: tuple[str, ...]
) -> "SiteConfig":
    """What the options say that a site brings; without --data, what it brought before."""
    from fedbbpt.config.settings import override, parse_assignment, read_toml
    from fedbbpt.federation.site_config import SiteConfig

    if data is None:
        if backend is not None or policy is not None or overrides:
            raise ConfigError("say which data with --data too; without any of these options, those of before are used")
        return SiteConfig.read(folder)
    settings: dict[str, Any] = {"data": {"name": data}}
    settings |= {} if backend is None else {"backend": {"name": backend}}
    settings |= {} if policy is None else {"policy": read_toml(policy)}
    for name, value in map(parse_assignment, overrides):
        override(settings, name, value)
    return SiteConfig.of(settings)
