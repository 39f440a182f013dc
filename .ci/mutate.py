"""Mutation testing, a sample: does a test notice when folding, merging, counting or the plug is a little wrong?

Per group a seeded sample of the mutants of its files (`mutants.py`) is put, one at a time, into a copy of the tracked
tree, and the tests that concern the group run on it until the first fails. A mutant that no test notices survives: a
gap in the tests, or a change that changes nothing, which EQUIVALENT must then give a reason for. Neither tool at hand
fits: mutmut leaves decorated functions alone (here every `torch.no_grad`, property and wrapper), and cosmic-ray
rewrites the checkout itself and brings 16 packages along.

    python .ci/mutate.py                   the whole sample; writes data/results/mutation.csv and mutation.json
    python .ci/mutate.py --again           only the recorded survivors, after tests were added; rewrites their rows
    python .ci/mutate.py --group counting  one group
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from mutants import Mutant, mutants
from mutation_groups import EQUIVALENT, GROUPS, Group

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "data" / "results"
SEED, SAMPLE, TARGET = 9, 24, 0.85
COLUMNS = ("group", "file", "line", "operator", "before", "after", "verdict", "by")


def sample(group: Group, size: int) -> list[tuple[str, Mutant]]:
    """Return (file, mutant) pairs of a group, drawn from all of its files at once."""
    pool = [
        (place.partition("::")[0], mutant)
        for place in group.files
        for mutant in mutants((ROOT / place.partition("::")[0]).read_text("utf-8"), place.partition("::")[2] or None)
    ]
    return random.Random(SEED).sample(pool, min(size, len(pool)))


def copy_of_the_tree(folder: Path) -> Path:
    """Copy what git tracks, as it is on disk now."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file() and not name.endswith((".ipynb", ".png")):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


def _child(tree: str, tests: list[str], log: str) -> None:
    """Run tests in `tree`; the first failure ends it. The exit code is pytest's."""
    if hasattr(os, "setsid"):
        os.setsid()  # so that a time limit ends the tests' own children too
    with open(log, "w", encoding="utf-8") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.chdir(tree)
    sys.path.insert(0, tree)
    sys.dont_write_bytecode = True
    os.environ |= {"PYTHONPATH": tree, "PYTHONDONTWRITEBYTECODE": "1"}
    import pytest

    os._exit(pytest.main(["-x", "-q", "--tb=line", "-p", "no:cacheprovider", "-W", "ignore", *tests]))


def verdict(tree: Path, tests: list[str], limit_s: float | None = None) -> tuple[str, str]:
    """Return ("killed" or "survived", by which test) for the tree as it is now."""
    log = tree / ".mutation.log"
    context = multiprocessing.get_context("forkserver" if hasattr(os, "fork") else "spawn")
    context.set_forkserver_preload(["torch", "numpy", "pytest", "matplotlib.font_manager", "PIL.Image"])
    child = context.Process(target=_child, args=(str(tree), tests, str(log)))
    child.start()
    child.join(limit_s)
    if child.is_alive():
        if hasattr(os, "killpg"):
            os.killpg(child.pid, signal.SIGKILL)
        child.kill()
        child.join()
        return "killed", "time limit"
    if child.exitcode == 0:
        return "survived", ""
    text = log.read_text("utf-8", errors="replace")
    if child.exitcode in (3, 4, 5):  # pytest's own trouble says nothing about a mutant
        raise SystemExit(f"the tests could not be run (exit code {child.exitcode}):\n{text[-3000:]}")
    said = [line for line in text.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return "killed", said[0].split()[1].split("[")[0] if said else f"exit code {child.exitcode}"


def judge(group: Group, chosen: list[tuple[str, Mutant]]) -> list[dict[str, str]]:
    """Return a row of the table for each mutant. The unchanged tree, rewritten in the same way, has to pass first."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        tree = copy_of_the_tree(Path(folder))
        for file in {file for file, _ in chosen}:
            (tree / file).write_text(mutants_of_nothing(ROOT / file), "utf-8")
        start = time.perf_counter()
        if (clean := verdict(tree, list(group.tests)))[0] != "survived":
            raise SystemExit(f"{group.name}: the tests fail without a mutant: {clean[1]}")
        clean_s = time.perf_counter() - start
        print(f"{group.name}: {len(chosen)} mutants; unchanged {clean_s:.0f} s", flush=True)
        for file, mutant in chosen:
            original = (tree / file).read_bytes()
            (tree / file).write_text(mutant.source, "utf-8")
            word, by = verdict(tree, list(group.tests), 60 + 5 * clean_s)
            (tree / file).write_bytes(original)
            if word == "survived" and (file, mutant.before, mutant.after) in EQUIVALENT:
                word = "equivalent"
            cells = (group.name, file, str(mutant.line), mutant.operator, mutant.before, mutant.after, word, by)
            rows.append(dict(zip(COLUMNS, cells, strict=True)))
            print(f"{word:10} {file}:{mutant.line} {mutant.operator}: {mutant.before}  →  {mutant.after}", flush=True)
    return rows


def mutants_of_nothing(path: Path) -> str:
    """Return a source as a mutant is written, without its change."""
    import ast

    return ast.unparse(ast.parse(path.read_text("utf-8")))


def summary(rows: list[dict[str, str]]) -> dict[str, dict[str, float]]:
    """Return killed, survived, equivalent and the share killed of those that change something, per group and in all."""
    out = {}
    for name in (*dict.fromkeys(row["group"] for row in rows), "all"):
        n = Counter(row["verdict"] for row in rows if name in ("all", row["group"]))
        changed = n["killed"] + n["survived"]
        out[name] = {k: n[k] for k in ("killed", "survived", "equivalent")} | {
            "killed_share": round(n["killed"] / changed, 4) if changed else 0.0
        }
    return out


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--group", choices=[g.name for g in GROUPS], action="append", help="repeatable; default all")
    parser.add_argument("--again", action="store_true", help="judge the recorded survivors anew")
    parser.add_argument("--sample", type=int, default=SAMPLE, help="mutants per group")
    parser.add_argument("--tests", nargs="+", help="with --again: only these of the group's tests")
    parser.add_argument("--dry", action="store_true", help="show the sample, run nothing")
    args = parser.parse_args()
    table = RESULTS / "mutation.csv"
    old = list(csv.DictReader(table.open(encoding="utf-8", newline=""))) if table.exists() else []
    survived = {(r["file"], r["before"], r["after"]) for r in old if r["verdict"] != "killed"}
    rows: list[dict[str, str]] = []
    for group in GROUPS:
        kept = [r for r in old if r["group"] == group.name]
        chosen = sample(group, len(kept) if args.again else args.sample)
        if args.group and group.name not in args.group:
            rows += kept
            continue
        if args.again:
            chosen = [(f, m) for f, m in chosen if (f, m.before, m.after) in survived]
        if args.dry:
            print(*(f"{group.name}: {f}:{m.line} {m.operator}: {m.before}  →  {m.after}" for f, m in chosen), sep="\n")
            continue
        asked = dataclasses.replace(group, tests=tuple(args.tests)) if args.tests else group
        new = judge(asked, chosen) if chosen else []
        anew = {(r["file"], r["before"], r["after"]): r for r in new}
        rows += [anew.get((r["file"], r["before"], r["after"]), r) for r in kept] if args.again else new
        others = [r for r in old if r["group"] not in {x["group"] for x in rows}]
        record(table, rows + others, first=not args.again)
    if args.dry:
        return 0
    total = summary(rows)["all"]
    print(json.dumps(summary(rows), indent=1))
    return 0 if total["killed_share"] >= TARGET else 1


def record(table: Path, rows: list[dict[str, str]], first: bool) -> None:
    """Write what is known so far, with the environment, and what the first run said, before tests were added for it."""
    sys.path.insert(0, str(ROOT))
    from workbench.files import replacing
    from workbench.train.environment import environment

    with replacing(table) as part, part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    reasons = [dict(zip(("file", "before", "after", "reason"), (*k, v), strict=True)) for k, v in EQUIVALENT.items()]
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout
    about = table.with_suffix(".json")
    before = summary(rows) if first or not about.exists() else json.loads(about.read_text("utf-8"))["first_run"]
    found = {
        "command": "python .ci/mutate.py", "seed": SEED, "target": TARGET, "commit": commit.strip(),
        "groups": {g.name: dataclasses.asdict(g) for g in GROUPS}, "summary": summary(rows), "first_run": before,
        "equivalent": reasons,
        "environment": environment(),
    }  # fmt: skip
    with replacing(about) as part:
        part.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
