"""`fedbbpt list`: the components that are installed, and the options of each."""

import click

from fedbbpt.printing import one_line, print_table
from fedbbpt.registry import KINDS


@click.command("list", short_help="List components, or the options of one.")
@click.argument("kind", type=click.Choice(KINDS))
@click.argument("name", required=False)
def list_(kind: str, name: str | None) -> None:
    """List the components of a kind; with a NAME, the options of that component and its source.

    Choose a component by its name (fedbbpt train --prompt dct), and set its options with -o (-o prompt.epsilon=0.2).
    """
    from fedbbpt import registry
    from fedbbpt.config.description import describe, summary

    if name is None:
        components = ((name, summary(registry.load(kind, name))) for name in registry.names(kind))
        print_table(list(components), "name", "summary")
        return
    found = describe(kind, name)
    click.echo(one_line(found.summary))
    if found.options:
        click.echo()
        print_table(found.options, "option", "type", "default", "meaning", headed=True)
    click.echo()
    click.echo(f"{'source':10}{one_line(found.source)}")
    for paper in found.papers:
        click.echo(f"{'paper':10}{one_line(paper)}")
