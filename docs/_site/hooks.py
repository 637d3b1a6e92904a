"""What the site needs beside Markdown: files of the repository that pages link to, and formulas as MathML.

On the disk and on a code platform, pages link to files beside `docs/` as `../examples/own_task.py`. On the site these
stand under `repository/`. Formulas become MathML while the site is built, so that no page needs a script for them.
"""

import html
import re
import sys
from pathlib import Path, PurePosixPath

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
OUTSIDE = re.compile(r"\]\(((?:\.\./)+)([^)#\s]+)((?:#[^)\s]*)?)\)")
FORMULA = re.compile(r'<(span|div) class="arithmatex">\s*\\([(\[])(.*?)\\[)\]]\s*</\1>', re.DOTALL)
PLACE = "repository"
SETTINGS = "<!-- the reference of settings -->"

sys.path.insert(0, str(Path(__file__).parent))
from settings import reference  # noqa: E402 - beside this file, which is no package


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the files that pages link to, and those that these link to."""
    waiting = [(Path(file.abs_src_path), PurePosixPath(file.src_uri)) for file in files.documentation_pages()]
    known = set(files.src_uris)
    while waiting:
        source, _ = waiting.pop()
        for link in re.findall(r"\]\(([^)#\s]+)(?:#[^)\s]*)?\)", source.read_text("utf-8")):
            target = (source.parent / link).resolve()
            if "://" in link or not target.is_file() or not target.is_relative_to(ROOT):
                continue
            if target.is_relative_to(ROOT / "docs"):
                continue
            place = f"{PLACE}/{target.relative_to(ROOT)}"
            if place not in known:
                known.add(place)
                files.append(File.generated(config, place, abs_src_path=str(target)))
                if target.suffix == ".md":
                    waiting.append((target, PurePosixPath(place)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Leads links to files beside `docs/` to where they are on the site, and fills in the reference of settings."""
    if SETTINGS in markdown:
        return markdown.replace(SETTINGS, reference())
    in_repository = page.file.src_uri.startswith(f"{PLACE}/")
    depth = page.file.src_uri.count("/")

    def moved(link: re.Match[str]) -> str:
        up, path, anchor = link.groups()
        return f"]({'../' * depth}{PLACE}/{path}{anchor})" if up.count("../") > depth else link[0]

    def from_repository(link: re.Match[str]) -> str:
        target = (ROOT / page.file.src_uri.removeprefix(f"{PLACE}/")).parent / link[1]
        inside = target.resolve()
        if inside.is_file() and inside.is_relative_to(ROOT / "docs"):
            return f"]({'../' * depth}{inside.relative_to(ROOT / 'docs')}{link[2]})"
        return link[0]

    if in_repository:
        return re.sub(r"\]\(([^)#\s]+)((?:#[^)\s]*)?)\)", from_repository, markdown)
    return OUTSIDE.sub(moved, markdown)


def on_page_content(content: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Writes formulas as MathML."""

    def formula(found: re.Match[str]) -> str:
        return convert(html.unescape(found[3]).strip(), display="block" if found[2] == "[" else "inline")

    return FORMULA.sub(formula, content)


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Names the theme's search for screen readers."""
    return output.replace('role="dialog"', 'role="dialog" aria-label="Search"')
