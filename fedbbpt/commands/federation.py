"""`fedbbpt federation`: a server and its sites, each a process of its own on a machine of its own."""

import time
from pathlib import Path

import click

from fedbbpt.commands.federation_demo import demo
from fedbbpt.commands.federation_fetch import fetch
from fedbbpt.commands.federation_join import join, once_option
from fedbbpt.printing import one_line, print_table

folder_argument = click.argument("folder", metavar="NAME", type=click.Path(path_type=Path))


@click.group(short_help="A real federation: create, up, join, status, fetch, down; demo.")
def federation() -> None:
    """A real federation: its server and its sites are processes of their own, on machines of their own.

    NAME is the folder that create has made.
    """


@federation.command(short_help="Make a federation: keys and start-up kits.")
@click.argument("name")
@click.option("--sites", required=True, metavar="A,B,…", help="Names of the sites: letters, digits, - and _.")
@click.option("--server", "host", default="127.0.0.1", show_default=True, help="Where sites reach the server.")
@click.option("--port", type=click.IntRange(1, 65535), default=8002, show_default=True, help="Port of the server.")
@click.option("--out", type=click.Path(path_type=Path), default=Path(), help="Folder for NAME  [default: this one].")
@click.option("--distributed", is_flag=True, help="Sites make their own keys: see request and sign.")
def create(name: str, sites: str, host: str, port: int, out: Path, distributed: bool) -> None:
    """Make a federation: a folder NAME with keys, and with a kit for the server, its administrator and every site."""
    from fedbbpt.federation.provisioning import create

    made = create(name, [site.strip() for site in sites.split(",")], host, port, out, distributed=distributed)
    click.echo(f"Made the federation {name} in {one_line(str(made.folder))}, for {_count(made.description.sites)}.")
    if distributed:
        click.echo(f"Next: at each site, run fedbbpt federation request {name} --site SITE.")
    else:
        click.echo(
            f"Next: hand each site its folder in {one_line(str(made.folder / 'sites'))} in private, since it holds its "
            f"key; then run fedbbpt federation up {one_line(str(made.folder))}."
        )


@federation.command(short_help="At a site: make its key, and ask for its kit.")
@click.argument("name")
@click.option("--site", required=True, help="The site's name, as given to create --sites.")
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path(), help="Folder of the files  [default: this one]."
)
def request(name: str, site: str, out: Path) -> None:
    """Make a site's key, which stays here, and a request for its kit. NAME is the federation's name."""
    from fedbbpt.federation.signing import request

    fingerprint = request(name, site, out)
    click.echo(
        f"Made the key {one_line(str(out / site))}.key, which stays at this site; its fingerprint is {fingerprint}."
    )
    click.echo(
        f"Next: send {one_line(str(out / site))}.csr to the federation's operator and tell the fingerprint in another "
        "way; a kit comes back."
    )


@federation.command(short_help="At the server: sign a site's request.")
@folder_argument
@click.argument("request_file", metavar="REQUEST", type=click.Path(path_type=Path))
def sign(folder: Path, request_file: Path) -> None:
    """Sign a site's REQUEST and write the site's kit, which holds no key."""
    from fedbbpt.federation.kits import Federation
    from fedbbpt.federation.signing import sign

    kit, fingerprint = sign(Federation.open(folder), request_file)
    click.echo(f"Made the kit of {kit.name} in {one_line(str(kit.folder))} for the key with fingerprint {fingerprint}.")
    click.echo(
        "Next: compare the fingerprint with what the site tells, then send it the kit; there, run fedbbpt federation "
        f"join {kit.name} --key {kit.name}.key --data … --backend …"
    )


@federation.command(short_help="Start a federation's server.")
@folder_argument
@click.option("--foreground", is_flag=True, help="Stay here and say what happens, until Ctrl-C.")
@once_option
def up(folder: Path, foreground: bool, once: bool) -> None:
    """Start a federation's server, in the background unless told otherwise."""
    from fedbbpt.federation.kits import Federation
    from fedbbpt.federation.nodes import run_server, start_server

    chosen = Federation.open(folder)
    if not foreground:
        seconds = start_server(chosen, once=once)
        kit = chosen.server
        click.echo(
            f"The server of {chosen.name} listens at {kit.description.host}:{kit.description.port} "
            f"({seconds:.1f} s); it writes to {one_line(str(kit.log))}."
        )
        click.echo("Next: the sites join with their kits: fedbbpt federation join KIT --data … --backend …")
        return
    try:
        run_server(chosen, click.echo, once=once)
    except KeyboardInterrupt:
        click.echo("The server has ended.")


@federation.command(short_help="End a federation's server.")
@folder_argument
def down(folder: Path) -> None:
    """End a federation's server and all its processes. A run that is going on can be continued with train --resume."""
    from fedbbpt.federation.kits import Federation
    from fedbbpt.federation.nodes import stop_server

    chosen = Federation.open(folder)
    if stop_server(chosen):
        click.echo(f"The server of {chosen.name} has ended; its sites wait for it.")
        click.echo(f"Next: fedbbpt federation up {one_line(str(folder))} starts it again.")
    else:
        click.echo(f"The server of {chosen.name} does not run here.")


@federation.command(short_help="Show how a federation fares.")
@folder_argument
def status(folder: Path) -> None:
    """Show since when a federation's server runs, which sites are there, and what jobs wait or run."""
    from fedbbpt.federation.admin import status
    from fedbbpt.federation.kits import Federation

    chosen = Federation.open(folder)
    found = status(chosen)
    if found is None:
        click.echo(f"The server of {chosen.name} does not run here.")
        click.echo(f"Next: fedbbpt federation up {one_line(str(folder))} starts it.")
        return
    click.echo(f"The server of {chosen.name} runs since {_clock(found.since)}.")
    rows = [(s.name, _clock(s.since), _ago(s.last_seen), s.backend or "—", s.doing or "—") for s in found.sites]
    print_table(rows, "site", "since", "last seen", "backend", "doing", headed=True)
    for job in found.jobs:
        click.echo(f"job {job.id} ({one_line(job.name)}): {job.status}, submitted {job.submitted}")
    missing = [site.name for site in found.sites if site.last_seen is None]
    click.echo(
        f"Next: {', '.join(missing)} still have to join."
        if missing
        else f"Next: fedbbpt train --federation {one_line(str(folder))}"
    )


def _count(sites: tuple[str, ...]) -> str:
    return f"{len(sites)} sites" if len(sites) > 1 else "one site"


def _clock(moment: float | None) -> str:
    return "—" if moment is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment))


def _ago(moment: float | None) -> str:
    return "not there" if moment is None else f"{max(0.0, time.time() - moment):.0f} s ago"


for command in (demo, fetch, join):
    federation.add_command(command)
