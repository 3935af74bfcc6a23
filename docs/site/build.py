"""Build the documentation site into output/site, strictly: a broken link or an unknown name is an error.

    pip install -e '.[docs]'
    python docs/site/build.py

The pages are the Markdown files as they stand. They keep their places relative to each other, and the files that they
link to come along, so that a link works on the site as it does on GitHub.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES, CONFIG = ROOT / "output" / "site-pages", ROOT / "docs" / "site" / "mkdocs.yml"
STYLE = ROOT / "docs" / "site" / "extra.css"
SOURCES = ("README.md", "C*.md", "SECURITY.md", "docs/*.md", "docs/results/*.md", "data/README.md", "examples/*.md")
LINK = re.compile(r"\]\((?![a-z]+:|#)([^)\s#]+)")


def sources() -> list[Path]:
    """The pages of the site, as they lie in the repository."""
    return sorted(path for pattern in SOURCES for path in ROOT.glob(pattern))


def linked(page: Path) -> set[Path]:
    """The files of this repository that a page links to."""
    targets = {(page.parent / link).resolve() for link in LINK.findall(page.read_text(encoding="utf-8"))}
    return {target for target in targets if target.is_file() and target.is_relative_to(ROOT)}


def collect() -> None:
    """Copy the pages and what they link to."""
    shutil.rmtree(PAGES, ignore_errors=True)
    pages = sources()
    for path in {STYLE, *pages, *(file for page in pages for file in linked(page))}:
        copy = PAGES / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)


def main() -> int:
    collect()
    os.environ["NO_MKDOCS_2_WARNING"] = "1"  # the theme's advertisement for its successor
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--config-file", str(CONFIG)]
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    raise SystemExit(main())
