"""What the site (mkdocs.yml) has beside docs/: the pages of the repository's root."""

import posixpath
import re
from pathlib import Path

from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
PAGES = {
    "README.md": "readme.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
LINK = re.compile(r"\]\((?!\w+:|#)([^)#\s]*)(#[^)\s]*)?\)")


def on_files(files, config):
    """Add the pages of the root, their links as seen from docs/."""
    for name, page in PAGES.items():
        text = LINK.sub(lambda found: _link(found, "docs"), (ROOT / name).read_text())
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown, page, config, files):
    """Links from docs/ to the root's pages are links to the site's."""
    return LINK.sub(lambda found: _link(found, "."), markdown)


def _link(found: re.Match[str], start: str) -> str:
    """A link that is seen from docs/ (``start`` "."), or from the root ("docs")."""
    path = found[1] if start == "." else posixpath.relpath(found[1], start)
    path = PAGES.get(posixpath.normpath(path).removeprefix("../"), path) if ".." in path else path
    return f"]({path}{found[2] or ''})"
