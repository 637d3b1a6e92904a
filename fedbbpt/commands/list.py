"""`fedbbpt list`: the components that are installed, and the options of each."""

import click

from fedbbpt.commands.completion import components_of_kind, kinds, one_of
from fedbbpt.printing import one_line, print_table


@click.command("list", short_help="List components, or the options of one.")
@click.argument("kind", shell_complete=one_of(kinds))
@click.argument("name", required=False, shell_complete=components_of_kind)
def list_(kind: str, name: str | None) -> None:
    """List the components of a KIND; with a NAME, the options of that component and its source.

    KIND is backends, tasks, prompts, encoders, readouts, optimizers, algorithms or engines. What is listed is known
    without any download: of a task, its size, its licence, what its first use downloads, and the extra that it needs.

    Choose a component by its name (fedbbpt train --prompt dct), and set its options with -o (-o prompt.epsilon=0.2).
    """
    from fedbbpt.commands.component_tables import RIGHT, component_table
    from fedbbpt.config.description import describe

    if name is None:
        table = component_table(kind)
        print_table(table.rows, *table.headings, right=RIGHT, cut=True)
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
