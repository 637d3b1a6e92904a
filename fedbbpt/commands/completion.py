"""`fedbbpt completion`, and what a shell proposes for arguments and options. Nothing is imported before a Tab."""

from collections.abc import Callable, Iterable
from pathlib import Path

import click
from click.shell_completion import CompletionItem, get_completion_class

SHELLS = ("bash", "zsh", "fish")
Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


@click.command(short_help="Print the script for completion in a shell.")
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print a script that makes a shell complete commands, options, and names of components, presets and runs.

    \b
    bash: add to ~/.bashrc:  source <(fedbbpt completion bash)
    zsh:  add to ~/.zshrc:   source <(fedbbpt completion zsh)
    fish: run once:          fedbbpt completion fish > ~/.config/fish/completions/fedbbpt.fish
    """
    script = get_completion_class(shell)
    assert script is not None  # click has all of SHELLS
    click.echo(script(ctx.find_root().command, {}, "fedbbpt", "_FEDBBPT_COMPLETE").source())


def components(kind: str) -> Complete:
    """Proposes the names of one kind of component."""

    def names() -> Iterable[str]:
        from fedbbpt import registry

        return registry.names(kind)

    return one_of(names)


def components_of_kind(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Proposes the names of the kind that the argument before names."""
    from fedbbpt import registry

    kind = ctx.params.get("kind")
    return components(kind)(ctx, parameter, incomplete) if kind in registry.KINDS else []


def kinds() -> Iterable[str]:
    """The kinds of component."""
    from fedbbpt import registry

    return registry.KINDS


def presets() -> Iterable[str]:
    """The names that --preset takes."""
    from fedbbpt.config.presets import SELECTABLE

    return SELECTABLE


def assets() -> Iterable[str]:
    """The names in the catalogue of assets."""
    from fedbbpt.assets.catalogue import ASSETS

    return ASSETS


def one_of(names: Callable[[], Iterable[str]], separator: str | None = None) -> Complete:
    """Proposes names; with a separator, after each one that is complete, the next."""

    def complete(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
        before, last = "", incomplete
        if separator is not None and separator in incomplete:
            before, _, last = incomplete.rpartition(separator)
            before += separator
        return [CompletionItem(before + name) for name in names() if name.startswith(last)]

    return complete


def folders_with(file: str) -> Complete:
    """Proposes folders that hold this file, here or one level below, such as runs/digits-001; else any folder."""

    def complete(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
        inside = incomplete.endswith("/") or not incomplete
        within, prefix = (Path(incomplete), "") if inside else (Path(incomplete).parent, Path(incomplete).name)
        try:
            near = [path for path in within.iterdir() if path.name.startswith(prefix)]
            found = [one.parent for path in near for one in (*path.glob(file), *path.glob(f"*/{file}"))]
        except OSError:
            found = []
        return [CompletionItem(str(path)) for path in sorted(found)] or [CompletionItem(incomplete, type="dir")]

    return complete


runs = folders_with("config.toml")
