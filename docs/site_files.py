"""A hook of mkdocs.yml: pages and files outside docs/ that pages link to are in the site too, at the same places."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
OUTSIDE = ("ARCHITECTURE.md", "CHANGELOG.md", "LICENSE", "cluster/*", "benchmarks/RESULTS.md", "benchmarks/figures/*")
CONFIGS = "asid_core/configs/*.yaml"


def on_files(files: Files, config: Any) -> Files:
    files.append(File.generated(config, "index.md", abs_src_path=str(ROOT / "README.md")))
    for pattern in (*OUTSIDE, CONFIGS):
        for path in ROOT.glob(pattern):
            if path.is_file():
                files.append(File.generated(config, path.relative_to(ROOT).as_posix(), abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """README stands beside docs/ in the repository and among its pages in the site."""
    return markdown.replace("](docs/", "](").replace("](../", "](" if page.file.src_uri.count("/") == 0 else "](../")
