"""Build the book: ``python docs/build.py``. Every lesson is run, and the pages in ``site/`` need no network.

Pages, lessons and the READMEs lie in different folders of the repository, and Sphinx wants one: they are copied
together first. A lesson that did not change since the last build is taken from the cache.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = {  # documents that live elsewhere in the repository → page of the book
    "assignments/README.md": "teaching.md",
    "data/README.md": "data/index.md",
    "data/results/README.md": "data/results.md",
    "data/weights/README.md": "data/weights.md",
    "data/published/README.md": "data/published.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
CDN = re.compile(r"""(?:src|href)\s*=\s*["'](?:https?:)?//[^"']+\.(?:js|css)["']""")


def gather(source: Path) -> None:
    """Copy the pages, the lessons with their pictures, and the documents of `PAGES` into one folder."""
    shutil.copytree(ROOT / "docs", source, ignore=shutil.ignore_patterns("build.py", "__pycache__"))
    shutil.copytree(ROOT / "notebooks", source / "notebooks", ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
    (source / "data").mkdir()
    for origin, page in PAGES.items():
        shutil.copy(ROOT / origin, source / page)
    for page in source.rglob("*.md"):
        page.write_text(_relink(page.read_text(encoding="utf-8"), page, source), encoding="utf-8")
    for page in (source / "notebooks").glob("*.ipynb"):
        lesson = json.loads(page.read_text(encoding="utf-8"))
        for cell in lesson["cells"]:
            if cell["cell_type"] == "markdown":
                cell["source"] = _relink("".join(cell["source"]), page, source)
        page.write_text(json.dumps(lesson, ensure_ascii=False), encoding="utf-8")


def _relink(text: str, page: Path, source: Path) -> str:
    """Return a page whose links to files outside the book have become plain code: they lead nowhere there."""

    def keep(match: re.Match[str]) -> str:
        label, target = match.group(1), match.group(2)
        if re.match(r"(https?:|#|mailto:)", target) or (page.parent / target.partition("#")[0]).exists():
            return match.group(0)
        here = page.relative_to(source).as_posix()
        here = here if here.startswith("notebooks/") else f"docs/{here}"
        origin = next((o for o, p in PAGES.items() if source / p == page), here)
        file, hash_, place = target.partition("#")
        inside = Path(os.path.normpath(Path(origin).parent / file)).as_posix()
        inside = PAGES.get(inside, inside.removeprefix("docs/"))
        if inside.endswith(".md") and (source / inside).is_file():
            return f"[{label}]({os.path.relpath(source / inside, page.parent)}{hash_}{place})"
        return label if label.startswith("`") else f"`{label}`"

    return re.sub(r"(?<!!)\[([^\]]+)\]\(([^)\s]+)\)", keep, text)


def sources_from_elsewhere(site: Path) -> list[str]:
    """Return the scripts and style sheets that a page of the book would fetch from another host."""
    found = {f"{p.relative_to(site)}: {m}" for p in site.rglob("*.html") for m in CDN.findall(p.read_text("utf-8"))}
    return sorted(found)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "site")
    parser.add_argument("--execute", choices=("cache", "force", "off"), default="cache", help="whether lessons are run")
    options = parser.parse_args()
    environment = {
        "YOLO_OFFLINE": "true",
        "BOOK_CACHE": str(ROOT / "build" / "book-cache"),
        **os.environ,
        "BOOK_EXECUTE": options.execute,
    }
    with tempfile.TemporaryDirectory() as folder:
        source, pages = Path(folder, "book"), Path(folder, "pages", "site")  # myst-nb also writes beside the pages
        gather(source)
        command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", str(source)]
        code = subprocess.run([*command, str(pages)], env=environment, cwd=folder).returncode
        if code:
            return code
        shutil.copytree(pages, options.out, dirs_exist_ok=True)
    if outside := sources_from_elsewhere(options.out):
        print("\n".join(["These pages would need a network:", *outside]), file=sys.stderr)
        return 1
    print(f"{options.out / 'index.html'}: {len(list(options.out.rglob('*.html')))} pages, readable without a network")
    return 0


if __name__ == "__main__":
    sys.exit(main())
