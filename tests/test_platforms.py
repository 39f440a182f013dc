"""Everywhere: what is declared for other systems can be read, agrees with itself, and claims no more than was tried."""

from __future__ import annotations

import ast
import itertools
import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
VERSIONS = ("3.11", "3.12", "3.13")
SOURCES = sorted((ROOT / "workbench").rglob("*.py"))


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


# ------------------------------------------------------------------ what is installed


def pip_lines(environment: dict) -> list[str]:
    return next((d["pip"] for d in environment["dependencies"] if isinstance(d, dict)), [])


@pytest.mark.parametrize("name", ["environment.yml", ".binder/environment.yml"])
def test_conda_asks_for_nothing_that_the_project_does_not(name):
    """Packages stand in pyproject.toml alone; what an environment names besides must be there, in the same range."""
    environment = yaml.safe_load(text(name))
    assert environment["channels"] == ["conda-forge"]
    declared = {canonicalize_name(r.name): r.specifier for r in map(Requirement, PROJECT["dependencies"])}
    conda = [d for d in environment["dependencies"] if isinstance(d, str)]
    for line in conda:
        package, _, version = line.partition("=")
        if package == "python":
            assert SpecifierSet(PROJECT["requires-python"]).contains(version)
        elif package != "pip":
            assert declared[canonicalize_name(package)].contains(version), line
    for line in pip_lines(environment):
        option, value = line.split() if line.startswith("--") else ("", line)
        if option == "--constraint":
            assert (ROOT / value).is_file()
        elif option == "--editable":
            assert value == "."
        else:
            need = Requirement(line)
            assert need.specifier == declared[canonicalize_name(need.name)], line
    assert name != "environment.yml" or "--editable ." in pip_lines(environment), "then the ranges are the project's"


def test_python_is_the_same_everywhere():
    assert PROJECT["requires-python"] == ">=3.11,<3.14"
    classifiers = [c.rsplit(" ", 1)[-1] for c in PROJECT["classifiers"] if c.startswith("Programming Language")]
    assert tuple(classifiers) == VERSIONS
    assert tuple(re.findall(r"python(3\.\d+)", re.search(r"^TRY.*$", text("Makefile"), re.M)[0])) == VERSIONS
    assert tuple(yaml.safe_load(text(".github/workflows/ci.yml"))["jobs"]["test"]["strategy"]["matrix"]["python"]) == (
        VERSIONS
    )
    for name in ("README.md", "docs/platforms.md", "Makefile"):
        assert "3.11, 3.12" in text(name).replace("`", ""), name
        assert "3.13" in text(name)
    for name in ("README.md", "docs/platforms.md"):
        assert all(v in VERSIONS for v in re.findall(r"py -(3\.\d+)", text(name))), name
    tools = tomllib.loads(text("pyproject.toml"))["tool"]
    assert tools["ruff"]["target-version"] == "py311"
    assert tools["mypy"]["python_version"] == VERSIONS[0], "the oldest: what it accepts runs on all"


# ------------------------------------------------------------------ CI


def steps(workflow: str) -> list[dict]:
    return [s for job in yaml.safe_load(text(f".github/workflows/{workflow}"))["jobs"].values() for s in job["steps"]]


@pytest.mark.parametrize("workflow", sorted(p.name for p in (ROOT / ".github/workflows").glob("*.yml")))
def test_a_workflow_is_sound(workflow):
    content = yaml.safe_load(text(f".github/workflows/{workflow}"))
    assert {"name", True, "jobs", "permissions"} <= set(content)  # YAML 1.1 reads the word on as true
    assert content["permissions"] == {"contents": "read"}
    for job in content["jobs"].values():
        assert job["timeout-minutes"] <= 60
        assert job["runs-on"] == "ubuntu-latest"
    for step in steps(workflow):
        assert ("uses" in step) != ("run" in step), step
        assert "uses" not in step or re.fullmatch(r"[\w.-]+/[\w.-]+@v\d+", step["uses"]), step
        if "run" in step:
            done = subprocess.run(["sh", "-n"], input=step["run"], text=True, capture_output=True)
            assert done.returncode == 0, done.stderr
    assert steps(workflow)[0]["uses"].startswith("actions/checkout@")


def test_github_runs_what_everybody_runs():
    """The workflow calls .ci/run, that ends in make test, and that starts the suite: one list of checks, not three."""
    assert [s["run"] for s in steps("ci.yml") if "run" in s][-1] == "bash .ci/run"
    assert text(".ci/run").rstrip().splitlines()[-1] == "make test"
    recipe = re.search(r"^test:.*\n((?:\t.*\n)+)", text("Makefile"), re.M)[1]
    assert ".ci/suite.py" in recipe


# ------------------------------------------------------------------ shells


BASH = [
    (r"\[\[", "[[ … ]]"),
    (r"<<<", "a here-string"),
    (r"\bfunction \w", "the word function"),
    (r"\bsource ", "source instead of ."),
    (r"<\(", "process substitution"),
    (r"&>", "&>"),
    (r"\bpushd\b|\bpopd\b", "pushd"),
    (r"\$\{\w+\[", "an array"),
    (r"\$'", "$'…'"),
]


def shell_of_documents() -> Iterator[tuple[str, str]]:
    top = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "assignments/README.md")]
    for page in (*top, *(ROOT / "docs").rglob("*.md")):
        for block in re.findall(r"```(?:bash|sh|console)\n(.*?)```", page.read_text("utf-8"), re.S):
            yield page.name, block


def test_commands_a_reader_copies_need_no_bash():
    blocks = list(shell_of_documents())
    assert len(blocks) > 3
    for name, block in blocks:
        found = [what for pattern, what in BASH if re.search(pattern, block)]
        assert not found, f"{name}: {found} in\n{block}"


def test_recipes_of_make_need_no_bash():
    """/bin/sh runs them, which on Debian is dash."""
    recipes = "\n".join(line[1:].replace("$$", "$") for line in text("Makefile").splitlines() if line.startswith("\t"))
    assert not [what for pattern, what in BASH if re.search(pattern, recipes)]


def test_no_command_of_the_library_goes_through_a_shell():
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call):
                shell = [k for k in node.keywords if k.arg == "shell" and getattr(k.value, "value", None) is not False]
                assert not shell, f"{path}:{node.lineno}"
                assert ast.unparse(node.func) not in ("os.system", "os.popen"), f"{path}:{node.lineno}"


@pytest.mark.parametrize("name", [".binder/postBuild", ".ci/run"])
def test_scripts_for_bash_say_so(name):
    assert text(name).splitlines()[0] == "#!/usr/bin/env bash"
    assert subprocess.run(["bash", "-n", ROOT / name]).returncode == 0


def test_binder_installs_the_pins():
    lines = [shlex.split(line) for line in text(".binder/postBuild").splitlines() if line.startswith("pip install")]
    assert len(lines) == 1
    assert lines[0][-4:] == ["-c", "constraints.txt", "-e", "."]
    assert "https://download.pytorch.org/whl/cpu" in lines[0], "no CUDA libraries on a machine without a GPU"


def test_the_cell_for_colab_is_a_cell():
    from IPython.core.inputtransformer2 import TransformerManager

    (cell,) = re.findall(r"```ipython\n(.*?)```", text("docs/platforms.md"), re.S)
    tree = ast.parse(TransformerManager().transform_cell(cell))
    calls = [ast.unparse(node.value) for node in tree.body if isinstance(node, ast.Expr)]
    assert len(calls) == 3
    assert "git clone" in calls[0]
    assert "pip" in calls[1]
    assert "-c" not in shlex.split(cell.splitlines()[1]), "Colab keeps its own torch"
    assert (ROOT / "notebooks").is_dir()


# ------------------------------------------------------------------ calls that only some systems have

MODULES = {"fcntl", "resource", "pwd", "grp", "termios", "pty", "tty", "posix", "syslog", "msvcrt", "winreg"}
POSIX = {
    "os": {
        "fork", "setsid", "setpgid", "getpgid", "killpg", "getuid", "geteuid", "getgid", "chown", "getloadavg", "nice",
        "sched_getaffinity", "mkfifo", "statvfs", "sysconf", "waitpid", "wait", "uname", "umask", "O_NOFOLLOW",
        "O_NONBLOCK", "O_DIRECTORY", "O_CLOEXEC", "setrlimit", "pread", "memfd_create", "pipe2",
    },
    "signal": {
        "SIGKILL", "SIGALRM", "SIGHUP", "SIGQUIT", "SIGSTOP", "SIGCONT", "SIGUSR1", "SIGUSR2", "SIGXCPU", "SIGCHLD",
        "SIGPIPE", "alarm", "setitimer", "ITIMER_REAL", "pthread_sigmask", "sigwait",
    },
    "time": {"tzset", "CLOCK_MONOTONIC", "clock_gettime"},
}  # fmt: skip
ASKS = re.compile(r"hasattr\(|sys\.platform|os\.name|platform\.system\(\)")


def only_somewhere(node: ast.AST) -> str:
    """Return what a node names that some systems lack; "" for everything else."""
    if isinstance(node, ast.Import) and (found := MODULES & {a.name.split(".")[0] for a in node.names}):
        return f"import {found.pop()}"
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return ast.unparse(node) if node.attr in POSIX.get(node.value.id, ()) else ""
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "ctypes.CDLL":
        return "ctypes.CDLL(None)" if getattr(node.args[0], "value", "") is None else ""
    if isinstance(node, ast.keyword) and node.arg in ("preexec_fn", "pass_fds"):
        return node.arg
    return ""


def is_guarded(what: str, parents: list[ast.AST]) -> bool:
    """Whether it is reached only where the system has it: below a question, after one that leaves, or forgiven."""
    for outer, inner in itertools.pairwise(parents):
        if isinstance(outer, ast.If | ast.IfExp) and inner is not outer.test and ASKS.search(ast.unparse(outer.test)):
            return True
        if isinstance(outer, ast.BoolOp) and ASKS.search(ast.unparse(outer.values[0])) and inner is not outer.values[0]:
            return True
        if isinstance(outer, ast.Try) and what.startswith("import ") and inner in outer.body:
            return any(h.type is not None and "ImportError" in ast.unparse(h.type) for h in outer.handlers)
        if isinstance(outer, ast.FunctionDef) and any(leaves(s) for s in outer.body[: outer.body.index(inner)]):
            return True
        if isinstance(outer, ast.ClassDef):  # an object that cannot be made has no method that can be called
            made = next((f for f in outer.body if isinstance(f, ast.FunctionDef) and f.name == "__init__"), None)
            if made is not None and any(leaves(s) for s in made.body):
                return True
    return False


def leaves(statement: ast.stmt) -> bool:
    asks = isinstance(statement, ast.If) and ASKS.search(ast.unparse(statement.test))
    return bool(asks) and isinstance(statement.body[-1], ast.Return | ast.Raise)  # type: ignore[attr-defined]


def unguarded(source: str) -> list[str]:
    found = []

    def visit(node: ast.AST, parents: list[ast.AST]) -> None:
        what = only_somewhere(node)
        if what and not is_guarded(what, [*parents, node]):
            found.append(f"{getattr(node, 'lineno', 0)}: {what}")
        for child in ast.iter_child_nodes(node):
            visit(child, [*parents, node])

    visit(ast.parse(source), [])
    return found


def test_no_call_that_only_unix_has_is_reached_elsewhere():
    assert {str(p): found for p in SOURCES if (found := unguarded(p.read_text("utf-8")))} == {}


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("import fcntl", 1),
        ("try:\n    import fcntl\nexcept ImportError:\n    fcntl = None", 0),
        ("try:\n    import fcntl\nexcept OSError:\n    pass", 1),
        ("def f():\n    os.killpg(1, signal.SIGKILL)", 2),
        ("def f():\n    if os.name == 'nt':\n        return\n    os.killpg(1, signal.SIGKILL)", 0),
        ("def f():\n    if x:\n        return\n    os.fork()", 1),
        ("y = os.getloadavg() if hasattr(os, 'getloadavg') else 0", 0),
        ("if hasattr(os, 'geteuid') and os.geteuid() == 0: pass", 0),
        ("if sys.platform == 'linux':\n    ctypes.CDLL(None)", 0),
        ("with suppress(OSError):\n    ctypes.CDLL(None)", 1),
        ("subprocess.Popen(x, preexec_fn=f)", 1),
        ("class A:\n  def __init__(self):\n    if os.name == 'nt': raise E\n  def f(self): os.fork()", 0),
    ],
)
def test_the_search_for_such_calls_can_fail(source, count):
    assert len(unguarded(source)) == count


def unencoded(source: str) -> list[int]:
    """Return the lines that read or write text in whatever encoding the system has: cp1252 on many a Windows."""
    lines = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or {"encoding", "errors"} & {k.arg for k in node.keywords}:
            continue
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        if (name == "read_text" and not node.args) or (name == "write_text" and len(node.args) < 2):
            lines.append(node.lineno)
        if name == "open" and isinstance(node.func, ast.Name) and "b" not in "".join(map(ast.unparse, node.args[1:2])):
            lines.append(node.lineno)
    return lines


def test_text_is_read_and_written_as_utf8():
    assert {str(p): lines for p in SOURCES if (lines := unencoded(p.read_text("utf-8")))} == {}
    assert unencoded("p.read_text()\np.write_text('×')\nopen(p, 'w')\nopen(p, 'rb')") == [1, 2, 3]


# ------------------------------------------------------------------ what was tried

NOT_TRIED = ("conda", "Binder", "Colab", "macOS", "Windows", "NVIDIA GPU")


def test_the_table_says_what_nobody_tried():
    rows = dict(re.findall(r"^\| ([^|]+?) \| ([^|]+?) \|", text("docs/platforms.md"), re.M))
    assert all(rows[name] == "declared, not tried" for name in NOT_TRIED), rows
    assert set(rows.values()) == {"state", "---", "tried", "declared, not tried"}
    tried = [name for name, state in rows.items() if state == "tried"]
    assert tried == ["Linux, x86-64, Python 3.11", "Linux, x86-64, Python 3.13"]
    assert "docs/platforms.md" in text("README.md")
    assert "platforms" in text("docs/index.md").split()


def test_every_path_of_the_table_is_written_out():
    page = text("docs/platforms.md")
    assert all(f"## {name}" in page for name in ("Windows", "conda", "Colab"))
    for command in re.findall(r"^(?:\.venv\\Scripts\\)?workbench (\w+)", page, re.M):
        from workbench.cli import app

        assert command in {c.name for c in app.registered_commands}
    name = yaml.safe_load(text("environment.yml"))["name"]
    assert f"conda activate {name}" in page
    assert f"conda activate {name}" in text("README.md")
