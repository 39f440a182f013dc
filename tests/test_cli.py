"""Every verb does what the lower floor does; every wrong input is one line on stderr and exit code 2."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import workbench as wb
import workbench.yolo  # now, so that ultralytics' logger does not hold on to the captured stream of one test
from workbench.cli import course, main

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def run(capsys):
    """Run one command in this process; return (exit code, stdout, stderr)."""

    def command(*arguments):
        code = main([str(a) for a in arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return command


@pytest.fixture
def good(run):
    """Run one command that must succeed; return its stdout."""

    def command(*arguments):
        code, out, err = run(*arguments)
        assert code == 0, err
        return out

    return command


@pytest.fixture(scope="module")
def damaged(tmp_path_factory) -> Path:
    """Files that are not what their names say."""
    folder = tmp_path_factory.mktemp("damaged")
    (folder / "truncated.pt").write_bytes(b"PK\x03\x04 and no more")
    (folder / "broken.yaml").write_text("backbone: [", encoding="utf-8")
    (folder / "nothing.yaml").write_text("- 1\n", encoding="utf-8")
    (folder / "run").mkdir()
    labels = folder / "unlabelled"
    (labels / "images" / "train").mkdir(parents=True)
    from PIL import Image

    for i in range(4):
        Image.new("RGB", (64, 64)).save(labels / "images" / "train" / f"{i}.jpg")
    (labels / "data.yaml").write_text("train: images/train\nval: images/train\nnames: {0: thing}\n", encoding="utf-8")
    (folder / "image").mkdir()
    fake = folder / "fake"
    (fake / "images" / "train").mkdir(parents=True)
    (fake / "labels" / "train").mkdir(parents=True)
    (fake / "images" / "train" / "0.jpg").write_text("not an image")
    (fake / "labels" / "train" / "0.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    (fake / "data.yaml").write_text("train: images/train\nval: images/train\nnames: {0: thing}\n", encoding="utf-8")
    return folder


WRONG = [  # arguments with {d} for the folder above; what the one line must name
    ("list nosuch*", "unknown backbone 'nosuch*'"),
    ("list --nosuch", "No such option"),
    ("nosuch", "No such command 'nosuch'"),
    ("info starnet_s11", "did you mean 'starnet_s1'"),
    ("info fasternet_t0 --imgsz big", "--imgsz 'big'"),
    ("info fasternet_t0 --form thin", "expected train or deploy"),
    ("info {d}/missing.pt", "missing.pt"),
    ("info {d}/truncated.pt", "not a readable checkpoint"),
    ("info {d}/broken.yaml", "no readable model YAML"),
    ("info yolo11q-fasternet_t0.yaml", "expected one of n, s, m, l, x"),
    ("measure", "Missing argument"),
    ("measure fasternet_t9", "unknown backbone"),
    ("measure fasternet_t0 --runtime warp", "unknown runtime 'warp'"),
    ("measure fasternet_t0 --seconds 0", "0"),
    ("measure fasternet_t0 --threads 0", "threads=0"),
    ("measure fasternet_t0 --batch many", "--batch"),
    ("measure fasternet_t0 --device tpu", "tpu"),
    ("measure fasternet_t0 --plot {d}/plot.docx", "ending in .png, .svg, .pdf"),
    ("measure fasternet_t0 --plot {d}/no/plot.png", "a folder that exists"),
    ("yaml --host yolo11", "Missing option '--backbone'"),
    ("yaml --host yolo99 --backbone starnet_s1", "unknown host 'yolo99'"),
    ("yaml --host yolo11 --scale q --backbone starnet_s1", "scale 'q'"),
    ("yaml --host yolo11 --backbone starnet_s1 -o {d}/no/where.yaml", "where.yaml"),
    ("layers yolo11n-starnet_s11.yaml", "starnet_s11"),
    ("layers {d}/nothing.yaml", "nothing.yaml"),
    ("yolo train modl=yolo11n.yaml", "'modl' is not a valid YOLO argument"),
    ("data imagenet", "unknown dataset 'imagenet'"),
    ("train --host yolo99", "unknown host 'yolo99'"),
    ("train --scale q", "scale 'q'"),
    ("train --backbone starnet_s11", "did you mean 'starnet_s1'"),
    ("train --preset clas", "did you mean 'class'"),
    ("train --preset fast imgsz=33", "multiple of 32"),
    ("train --preset fast imgsz", "KEY=VALUE"),
    ("train --preset fast nosuchsetting=1", "nosuchsetting"),
    ("train --data {d}/missing.yaml", "missing.yaml"),
    ("train --data {d}/unlabelled/data.yaml", "label"),
    ("train --data {d}/fake/data.yaml", "0.jpg"),
    ("train --resume {d}/run", "holds no training run"),
    ("train --preset fast --epochs none", "--epochs"),
    ("sweep {d}/missing-grid.yaml", "no grid at"),
    ("sweep {d}/broken.yaml", "not readable YAML"),
    ("results memory_24_image", "did you mean 'memory_24_images'"),
    ("results {d}/run", "holds no runs"),
    ("results shapes_128_class --plot {d}/curves.docx", "ending in .png, .svg, .pdf"),
]


@pytest.mark.parametrize(("command", "named"), WRONG, ids=[c for c, _ in WRONG])
def test_wrong_input_is_one_line(run, damaged, tmp_path, monkeypatch, bad_input, command, named):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WORKBENCH_CACHE", str(damaged / "cache"))
    before = set(damaged.rglob("*"))
    code, _, err = run(*command.format(d=damaged).split())
    assert code == 2
    assert err.count("\n") == 1, err
    assert err.startswith("workbench: ")
    assert named in err
    bad_input("command line", f"workbench {command.replace('{d}/', '')}", err.removeprefix("workbench: "))
    assert "Traceback" not in err
    assert not list(tmp_path.iterdir()), "something half-written was left"
    assert {p for p in set(damaged.rglob("*")) - before if "cache" not in p.parts} == set()


def test_no_command_shows_the_verbs(run):
    code, _, err = run()
    assert code == 2
    assert "Commands:" in err
    assert "Traceback" not in err


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_no_permission(run, tmp_path):
    tmp_path.chmod(0o500)
    code, _, err = run("yaml", "--host", "yolo11", "--backbone", "starnet_s1", "-o", tmp_path)
    assert (code, err.count("\n")) == (2, 1)
    assert "Permission denied" in err
    assert not list(tmp_path.iterdir())


def test_a_refused_write(run, tmp_path, monkeypatch):
    def refuse(self, *args, **kwargs):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "write_bytes", refuse)
    code, _, err = run("yaml", "--host", "yolo11", "--backbone", "starnet_s1", "-o", tmp_path)
    assert (code, err.count("\n")) == (2, 1)
    assert "Permission denied" in err


def test_an_error_of_ours_is_not_hidden(monkeypatch):
    """Only what a user can mend becomes one line; a bug keeps its traceback."""
    monkeypatch.setattr("workbench.backbones.registry._FAMILY_OF", None)
    with pytest.raises(TypeError):
        main(["list"])


def test_list(good):
    assert good("list").split() == wb.list_backbones()
    assert good("list", "fasternet*").split() == wb.list_backbones("fasternet*")
    rows = json.loads(good("list", "star*", "--json"))
    assert {"name": "starnet_s1", "family": "starnet"} in rows
    assert len(rows) == len(wb.list_backbones("star*"))


@pytest.mark.parametrize("form", ["train", "deploy"])
def test_info_prints_the_tables_integers(good, form):
    with (ROOT / "data" / "backbones.csv").open(newline="") as file:
        row = next(r for r in csv.DictReader(file) if r["variant"] == "mobileone_s0")
    found = json.loads(good("info", "mobileone_s0", "--form", form, "--json"))
    assert (found["params"], found["macs"]) == (int(row[f"params_{form}"]), int(row[f"macs_{form}"]))
    assert found["flops"] == 2 * found["macs"]
    assert found["form"] == form
    assert f"{found['macs']:,}" in good("info", "mobileone_s0", "--form", form)


def test_info_of_a_detector_and_another_size(good):
    name = "yolo11n-starnet_s050.yaml"
    square = json.loads(good("info", name, "--json"))
    wide = json.loads(good("info", name, "--imgsz", "320x640", "--json"))
    assert square["input_shape"] == [[1, 3, 640, 640]]
    assert wide["input_shape"] == [[1, 3, 320, 640]]
    assert square["params"] == wide["params"] == sum(p.numel() for p in wb.YOLO(name).model.parameters())
    assert 1.9 < square["macs"] / wide["macs"] < 2.1


def test_info_of_a_network_without_a_classifier(good):
    pytest.importorskip("timm", reason="timm comes with the extra reference")
    found = json.loads(good("info", "timm:resnet18", "--imgsz", "64", "--json"))
    assert found["params"] == 11_176_512, "torchvision's 11,689,512 without its 513,000 of the classifier"


def test_measure(good, tmp_path):
    names = ("starnet_s050", "starnet_s100")
    small = ("--imgsz", 32, "--seconds", 2)
    rows = list(csv.DictReader(good("measure", *names, *small, "--csv").splitlines()))
    assert [r["candidate"] for r in rows] == list(names)
    assert float(rows[0]["ratio"]) == 1
    both = json.loads(good("measure", names[0], *small, "--runtime", "eager,channels_last", "--json"))
    assert [r["candidate"] for r in both["candidates"]] == ["starnet_s050 · eager", "starnet_s050 · channels_last"]
    assert both["environment"]["threads"] == 1
    assert "one interleaved run" in good("measure", *names, *small, "--plot", tmp_path / "bars.svg")
    picture = (tmp_path / "bars.svg").read_text(encoding="utf-8")
    assert all(f"<!-- {name} -->" in picture for name in names)


def test_yaml_is_a_model(good, tmp_path):
    text = good("yaml", "--host", "yolo11", "--scale", "s", "--backbone", "starnet_s050")
    path = good("yaml", "--host", "yolo11", "--scale", "s", "--backbone", "starnet_s050", "-o", tmp_path).strip()
    assert Path(path) == tmp_path / "yolo11s-starnet_s050.yaml"
    assert Path(path).read_text(encoding="utf-8") == text
    assert yaml.safe_load(text)["backbone"][0][2] == "starnet_s050"
    other = tmp_path / "mine.yaml"  # no scale in the name: the one in the file counts
    assert good("yaml", "--host", "yolo11", "--scale", "s", "--backbone", "starnet_s050", "-o", other).strip() == str(
        other
    )
    sizes = {sum(p.numel() for p in wb.YOLO(str(f)).model.parameters()) for f in (path, other)}
    assert len(sizes) == 1


def test_layers(good):
    from workbench.yolo import layer_map

    assert good("layers", "yolo11n-starnet_s050.yaml").strip() == str(layer_map("yolo11n-starnet_s050.yaml")).strip()


def test_data_and_train_and_yolo(tmp_path, monkeypatch, good):
    """From a drawn dataset to a checkpoint and a prediction, by commands alone."""
    dataset = Path(good("data", "shapes", "--root", tmp_path / "cache").strip())
    assert dataset.is_file()
    assert dataset.is_relative_to(tmp_path / "cache")
    monkeypatch.chdir(tmp_path)
    small = wb.datasets.shapes(n_train=8, n_val=4, imgsz=64)
    out = good(
        "train", "--backbone", "starnet_s050", "--data", small, "--preset", "fast", "--out", tmp_path / "run",
        "epochs=1", "batch=4",
    )  # fmt: skip
    assert "finished" in out
    curves = (tmp_path / "run" / "curves.csv").read_text().splitlines()
    assert len(curves) == 2
    best = tmp_path / "run" / "weights" / "best.pt"
    code = "import sys; from workbench.cli import main; sys.exit(main(sys.argv[1:]))"
    picture = next((small.parent / "images" / "val").glob("*.png"))
    command = ["yolo", "predict", f"model={best}", f"source={picture}", "imgsz=64", f"project={tmp_path}/p", "name=n"]
    done = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "p" / "n").is_dir()


def test_yolo_trains_on_our_copy_of_coco128(monkeypatch, tmp_path):
    from workbench.cli import wire

    monkeypatch.setattr("workbench.datasets.coco128", lambda: tmp_path / "coco128.yaml")
    monkeypatch.chdir(tmp_path)
    assert wire._local_data("data=coco128.yaml") == f"data={tmp_path}/coco128.yaml"
    assert wire._local_data("epochs=1") == "epochs=1"
    (tmp_path / "coco128.yaml").touch()  # the user's own file comes first
    assert wire._local_data("data=coco128.yaml") == "data=coco128.yaml"


def test_doctor(good, run, monkeypatch):
    report = json.loads(good("doctor", "--json"))
    assert report["ok"]
    assert "ready" in good("doctor")
    monkeypatch.setattr("workbench.health.CHECKS", (lambda: [wb.health.Finding("x", "broken", "gone")],))
    code, out, _ = run("doctor")
    assert code == 1
    assert "not ready" in out


def test_lab_stays_on_this_machine(tmp_path):
    ours = course.lab_arguments(tmp_path, ["--no-browser", "--port", "8899"])
    assert "--ServerApp.ip=127.0.0.1" in ours
    assert ours[-3:] == ["--no-browser", "--port", "8899"]
    assert not any("token" in a.lower() or "password" in a.lower() for a in ours)  # JupyterLab's own token stays on
    for given in (["--ip=0.0.0.0"], ["--ip", "0.0.0.0"], ["--ServerApp.ip=0.0.0.0"], ["--notebook-dir=."]):
        names = [a.partition("=")[0] for a in course.lab_arguments(tmp_path, given)]
        assert len(set(names) & {"--ip", "--ServerApp.ip"}) == 1  # JupyterLab refuses two values
        assert len(set(names) & {"--notebook-dir", "--ServerApp.root_dir"}) == 1


def test_lab_without_lessons(run, tmp_path, monkeypatch):
    monkeypatch.setattr(course, "data_dir", lambda: tmp_path / "data")
    code, _, err = run("lab")
    assert code == 2
    assert "clone of the repository" in err


def test_installed_command_and_module():
    for command in ([str(Path(sys.executable).parent / "workbench")], [sys.executable, "-m", "workbench"]):
        done = subprocess.run([*command, "list", "starnet_s1"], capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stdout) == (0, "starnet_s1\n")


@pytest.mark.skipif(sys.platform == "win32", reason="a POSIX pipe")
def test_a_closed_pipe_is_no_error():
    command = f"'{sys.executable}' -m workbench list | head -n 1"
    done = subprocess.run(["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, text=True, timeout=60)
    assert done.stdout == "fasternet_t0\n"
    assert done.stderr == ""


def test_surgery_prints_applies_and_reverts(run, good, tmp_path):
    from workbench.yolo import surgery

    assert good("surgery", "--diff") == surgery.surgery_diff()
    tasks = tmp_path / "ultralytics" / "nn" / "tasks.py"
    tasks.parent.mkdir(parents=True)
    package = surgery.files.installed_package()
    before = (package / "nn" / "tasks.py").read_bytes()
    tasks.write_bytes(before)
    (tmp_path / "ultralytics" / "__init__.py").write_bytes((package / "__init__.py").read_bytes())
    good("surgery", "--apply", tmp_path)
    assert tasks.read_bytes() != before
    good("surgery", "--revert", tmp_path)
    assert tasks.read_bytes() == before
    code, _, err = run("surgery", "--diff", "--apply", tmp_path)
    assert (code, err.count("\n")) == (2, 1)
    assert "one thing at a time" in err
    code, _, err = run("surgery", "--apply", package)
    assert (code, err.count("\n")) == (2, 1)
    assert (package / "nn" / "tasks.py").read_bytes() == before
