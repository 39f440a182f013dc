"""Door 2: the edits as a diff and on a fork, exactly reversible; on a copy; and equal to the plug to the last bit."""

from __future__ import annotations

import copy
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from workbench.errors import WorkbenchError
from workbench.yolo import detector_yaml, surgery
from workbench.yolo.surgery import files

from ultralytics.nn import tasks as ultralytics_tasks  # isort: skip - after the workbench has made torchvision usable

INSTALLED = files.installed_package()
TASKS = INSTALLED / "nn" / "tasks.py"
PRISTINE = TASKS.read_bytes()
ARTICLE = Path(__file__).parent / "fixtures" / "yolo11-StarNet.yaml"


@pytest.fixture
def fork(tmp_path):
    """A fork's root: the two files of it that the surgery looks at."""
    return make_fork(tmp_path / "fork")


def make_fork(root: Path, version: str = surgery.KNOWN_VERSIONS[0], content: bytes = PRISTINE) -> Path:
    (root / "ultralytics" / "nn").mkdir(parents=True)
    (root / "ultralytics" / "__init__.py").write_text(f'__version__ = "{version}"\n')
    tasks_of(root).write_bytes(content)
    return root


def tasks_of(root: Path) -> Path:
    return root / "ultralytics" / "nn" / "tasks.py"


def everything(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


# ---- on a fork -------------------------------------------------------------------------------------------------


def test_apply_and_revert_restore_identical_bytes(fork):
    before = everything(fork)
    said = surgery.apply(fork)
    assert f"{len(surgery.EDITS)} edits made" in said
    assert "\n" not in said
    edited = tasks_of(fork).read_bytes()
    assert edited != PRISTINE
    assert all(files.state(edited.decode()))
    assert set(everything(fork)) == set(before), "no file is left beside it"
    assert "taken out" in surgery.revert(fork)
    assert everything(fork) == before


def test_apply_twice_and_revert_twice_change_nothing_more(fork):
    surgery.apply(fork)
    edited = everything(fork)
    assert "already" in surgery.apply(fork)
    assert everything(fork) == edited
    surgery.revert(fork)
    assert "no edit" in surgery.revert(fork)
    assert tasks_of(fork).read_bytes() == PRISTINE


def test_windows_line_ends_are_kept(tmp_path):
    crlf = PRISTINE.replace(b"\n", b"\r\n")
    fork = make_fork(tmp_path / "fork", content=crlf)
    surgery.apply(fork)
    edited = tasks_of(fork).read_bytes()
    assert edited.count(b"\n") == edited.count(b"\r\n") > crlf.count(b"\r\n")
    surgery.revert(fork)
    assert tasks_of(fork).read_bytes() == crlf


def test_a_fork_with_changes_of_its_own_elsewhere(tmp_path):
    own = PRISTINE.replace(b"class Ensemble(", b"class MyOwnHead:\n    pass\n\n\nclass Ensemble(")
    assert own != PRISTINE
    fork = make_fork(tmp_path / "fork", content=own)
    surgery.apply(fork)
    surgery.revert(fork)
    assert tasks_of(fork).read_bytes() == own


@pytest.mark.parametrize("given", ["", "ultralytics", "ultralytics/nn", "ultralytics/nn/tasks.py"])
def test_root_package_folder_and_file_are_all_understood(fork, given):
    surgery.apply(fork / given)
    surgery.revert(str(fork / given))
    assert tasks_of(fork).read_bytes() == PRISTINE


@pytest.mark.parametrize("version", ["8.3.0", "8.4.191", "9.0.0"])
@pytest.mark.parametrize("act", [surgery.apply, surgery.revert])
def test_an_unknown_version_is_refused_and_nothing_written(tmp_path, act, version):
    fork = make_fork(tmp_path / "fork", version)
    before = everything(fork)
    with pytest.raises(WorkbenchError, match=f"ultralytics {version}; the surgery knows 8.4.190") as refused:
        act(fork)
    assert "\n" not in str(refused.value)
    assert everything(fork) == before


def test_revert_works_after_the_fork_moved_on_to_an_unknown_version(fork):
    surgery.apply(fork)
    (fork / "ultralytics" / "__init__.py").write_text('__version__ = "8.5.0"\n')
    surgery.revert(fork)
    assert tasks_of(fork).read_bytes() == PRISTINE


def test_a_lone_copy_is_known_by_its_bytes(tmp_path):
    lone = tmp_path / "tasks.py"
    lone.write_bytes(PRISTINE)
    surgery.apply(lone)
    surgery.revert(lone)
    assert lone.read_bytes() == PRISTINE
    lone.write_bytes(PRISTINE + b"# mine\n")
    with pytest.raises(WorkbenchError, match="does not say which ultralytics"):
        surgery.apply(lone)


@pytest.mark.parametrize("n", range(len(surgery.EDITS)))
def test_half_applied_is_rolled_back(fork, n):
    """One edit made by hand and the rest not, or the rest made and one not: either way back to the untouched file."""
    only = surgery.EDITS[n]
    for edits in ([only], [e for e in surgery.EDITS if e is not only]):
        half = files.with_edits(PRISTINE.decode(), edits)
        tasks_of(fork).write_bytes(half.encode())
        with pytest.raises(WorkbenchError, match=f"held {len(edits)} of {len(surgery.EDITS)} edits and was rolled"):
            surgery.apply(fork)
        assert tasks_of(fork).read_bytes() == PRISTINE
        tasks_of(fork).write_bytes(half.encode())
        surgery.revert(fork)
        assert tasks_of(fork).read_bytes() == PRISTINE


@pytest.mark.parametrize("n", range(len(surgery.EDITS)))
def test_a_missing_anchor_is_named_and_nothing_written(fork, n):
    edit = surgery.EDITS[n]
    other = PRISTINE.decode().replace(edit.anchor, edit.anchor.replace("\n", "  # mine\n", 1))
    tasks_of(fork).write_bytes(other.encode())
    before = everything(fork)
    with pytest.raises(WorkbenchError, match=f"edit '{edit.step}' in {edit.where}".replace("(", r"\(")):
        surgery.apply(fork)
    assert everything(fork) == before


def test_an_edit_changed_after_it_was_made_is_not_reverted(fork):
    surgery.apply(fork)
    changed = tasks_of(fork).read_text().replace("m_.width_list = c2", "m_.width_list = list(c2)")
    tasks_of(fork).write_text(changed)
    with pytest.raises(WorkbenchError, match="was changed after it was made"):
        surgery.revert(fork)
    assert tasks_of(fork).read_text() == changed


def test_a_write_that_fails_leaves_the_old_file(fork, monkeypatch):
    before = everything(fork)

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(WorkbenchError, match=r"No space left on device.*nothing was changed"):
        surgery.apply(fork)
    assert everything(fork) == before


def test_permissions_survive_and_a_link_stays_a_link(fork, tmp_path):
    tasks_of(fork).chmod(0o640)
    link = tmp_path / "linked"
    link.symlink_to(fork)
    surgery.apply(link)
    assert stat.S_IMODE(tasks_of(fork).stat().st_mode) == 0o640
    assert link.is_symlink()
    surgery.revert(link)
    assert tasks_of(fork).read_bytes() == PRISTINE


@pytest.mark.parametrize("given", [INSTALLED, INSTALLED.parent, TASKS])
@pytest.mark.parametrize("act", [surgery.apply, surgery.revert])
def test_the_imported_package_is_refused(act, given):
    with pytest.raises(WorkbenchError, match=r"belongs to the ultralytics this Python imports.*give a clone"):
        act(given)
    assert TASKS.read_bytes() == PRISTINE


def test_the_imported_package_is_refused_through_a_link_too(tmp_path):
    (tmp_path / "innocent").symlink_to(INSTALLED)
    with pytest.raises(WorkbenchError, match="this Python imports"):
        surgery.apply(tmp_path / "innocent")


def test_a_folder_without_tasks_is_refused(tmp_path):
    with pytest.raises(WorkbenchError, match=r"holds no nn/tasks.py; give the root of your ultralytics fork"):
        surgery.apply(tmp_path)


# ---- the diff --------------------------------------------------------------------------------------------------


def test_diff_applies_and_reverses_with_standard_tools(fork, tmp_path):
    (tmp_path / "surgery.patch").write_text(surgery.surgery_diff())
    git = shutil.which("git") or pytest.skip("git is not installed")
    subprocess.run([git, "apply", "--check", "../surgery.patch"], cwd=fork, check=True)
    subprocess.run([git, "apply", "../surgery.patch"], cwd=fork, check=True)
    by_git = tasks_of(fork).read_bytes()
    assert "already" in surgery.apply(fork)
    subprocess.run([git, "apply", "-R", "../surgery.patch"], cwd=fork, check=True)
    assert tasks_of(fork).read_bytes() == PRISTINE
    surgery.apply(fork)
    assert tasks_of(fork).read_bytes() == by_git


def test_diff_changes_what_it_says():
    removed = [line for line in surgery.surgery_diff().splitlines() if line[:1] == "-" and line[:3] != "---"]
    added = [line for line in surgery.surgery_diff().splitlines() if line[:1] == "+" and line[:3] != "+++"]
    assert 0 < len(removed) < len(added) < 60
    assert any("create_backbone" in line for line in added)


@pytest.mark.parametrize("version", ["8.3.0", "1.0", "newest"])
def test_diff_of_an_unknown_version_is_refused(version):
    with pytest.raises(WorkbenchError, match=r"the surgery knows 8\.4\.190"):
        surgery.surgery_diff(version)


def test_diff_of_the_installed_version_by_name():
    assert surgery.surgery_diff(surgery.KNOWN_VERSIONS[0]) == surgery.surgery_diff()


# ---- on a copy -------------------------------------------------------------------------------------------------


def small(base: int = 8, before: int = 0) -> dict:
    """A small detector: `before` idle rows, a StarNet, one convolution on its P5, a head on P3, P4 and P5."""
    p3, p5 = before + 2, before + 5
    return {
        "nc": 2,
        "backbone": [
            *([-1, 1, "nn.Identity", []] for _ in range(before)),
            [-1, 1, "starnet_s050", [{"base_dim": base}]],
            [-1, 1, "Conv", [32, 1, 1]],
        ],
        "head": [[[p3, p3 + 1, p5], 1, "Detect", ["nc"]]],
    }


def build(tasks, cfg, kind="DetectionModel", **keywords):
    return getattr(tasks, kind)(copy.deepcopy(cfg), verbose=False, **keywords)


@pytest.fixture(scope="module")
def edited(tmp_path_factory):
    """The finished surgery, as a module."""
    return surgery.copy_tasks(tmp_path_factory.mktemp("work"), "tasks_surgery_tested", surgery.STEPS)


def test_the_copy_is_another_module_and_the_installed_one_stays(tmp_path):
    tasks = surgery.copy_tasks(tmp_path, "tasks_of_a_test")
    assert Path(tasks.__file__) == tmp_path / "tasks_of_a_test.py"
    assert Path(tasks.__file__).read_bytes() == PRISTINE == TASKS.read_bytes()
    assert tasks.DetectionModel is not ultralytics_tasks.DetectionModel
    assert tasks.Conv is ultralytics_tasks.Conv, "layers are shared"


def test_an_edit_is_loaded_at_once(tmp_path):
    tasks = surgery.copy_tasks(tmp_path, "tasks_of_a_test")
    for n in range(3):  # faster than a file's time stamp can tell
        tasks = surgery.edit(tasks, "class Ensemble(", f"ANSWER{n} = {n}\n\n\nclass Ensemble(")
        assert getattr(tasks, f"ANSWER{n}") == n
    assert "ANSWER2 = 2" in surgery.listing(tasks, "class Ensemble(", before=3)


def test_a_bad_edit_leaves_the_copy_as_it_was(tmp_path):
    tasks = surgery.copy_tasks(tmp_path, "tasks_of_a_test")
    with pytest.raises(WorkbenchError, match=r"occurs 0 times in tasks_of_a_test\.py"):
        surgery.edit(tasks, "no such line", "")
    with pytest.raises(WorkbenchError, match=r"occurs \d\d+ times"):
        surgery.edit(tasks, "self", "")
    with pytest.raises(SyntaxError):
        surgery.edit(tasks, "class Ensemble(", "class class(")
    assert Path(tasks.__file__).read_bytes() == PRISTINE
    with pytest.raises(WorkbenchError, match="is the installed package, not a copy"):
        surgery.edit(ultralytics_tasks, "class Ensemble(", "class Other(")
    assert TASKS.read_bytes() == PRISTINE


@pytest.mark.parametrize("name", ["json", "torch", "pytest"])
def test_a_copy_takes_nobodys_name(tmp_path, name):
    with pytest.raises(WorkbenchError, match="is the name of another module"):
        surgery.copy_tasks(tmp_path, name)
    with pytest.raises(WorkbenchError, match="is no module name"):
        surgery.copy_tasks(tmp_path, f"{name}-1")


def test_an_unknown_step_is_answered_with_the_near_one():
    with pytest.raises(WorkbenchError, match=r"no step 'forwards'; did you mean 'forward'\?"):
        surgery.edits_of("forwards")


def test_every_class_with_a_loop_of_its_own_is_known():
    """A new release with one more loop has to be looked at: the two edited here, and two that the course leaves."""
    loops = {n for n, text in surgery.class_sources(ultralytics_tasks).items() if "in self.save" in text}
    assert loops == {"BaseModel", "RTDETRDetectionModel", "WorldModel", "YOLOEModel"}
    edited = {e.where.split(".")[0] for e in surgery.edits_of("forward", "rtdetr")}
    assert loops - edited == {"WorldModel", "YOLOEModel"}


@pytest.mark.parametrize(
    ("steps", "error", "said"),
    [
        ((), KeyError, "starnet_s050"),
        (("branch",), TypeError, "list"),
        (("branch", "shift"), TypeError, "got \\(list"),
        (("branch", "forward"), TypeError, "list"),
    ],
)
def test_what_breaks_in_between(tmp_path, steps, error, said):
    """The errors that lesson 08 shows."""
    tasks = surgery.copy_tasks(tmp_path, "tasks_of_a_test", steps)
    with pytest.raises(error, match=said):
        build(tasks, small())


# ---- the articles' mistakes --------------------------------------------------------------------------------------


def test_c1_small_inputs_keep_all_levels(edited):
    """C1: features in a dict keyed by size lose levels where two sizes are equal."""
    backbone = build(edited, small()).model[0].eval()
    for side in (32, 33, 64):
        assert len(backbone(torch.zeros(1, 3, side, side))) == 4


def test_c4_parameter_counts_are_written_on_the_layer_not_on_its_class(edited):
    one, two = build(edited, small(8)).model[0], build(edited, small(16)).model[0]
    assert type(one) is type(two)
    assert (one.np, two.np) == tuple(sum(p.numel() for p in m.parameters()) for m in (one, two))
    assert "np" not in vars(type(one))


def test_c5_the_layer_type_is_a_name(edited):
    assert build(edited, small()).model[0].type == "workbench.backbones.starnet.StarNet"


def test_c6_rtdetr_runs_its_own_loop(tmp_path, edited):
    """Without the step `rtdetr` it builds, ultralytics reports 0.0 GFLOPs, and the first image fails."""
    from ultralytics.utils.torch_utils import get_flops

    cfg = detector_yaml("rtdetr-l", "starnet_s050", base_dim=8)
    half = surgery.copy_tasks(tmp_path, "tasks_of_a_test", ("branch", "shift", "forward"))
    model = build(half, cfg, "RTDETRDetectionModel").eval()
    assert get_flops(model, 640) == 0.0
    with pytest.raises(TypeError, match="list"):
        model(torch.zeros(1, 3, 256, 256))
    model = build(edited, cfg, "RTDETRDetectionModel").eval()
    assert get_flops(model, 640) > 10
    with torch.no_grad():
        assert model(torch.zeros(1, 3, 256, 256))[0].shape[:2] == (1, 300)


def test_c7_embed_still_works(edited):
    """For every layer that has a map, and in RT-DETR too."""
    x = torch.rand(2, 3, 256, 256)
    with torch.no_grad():
        model = build(edited, small(8)).eval()
        for layers, width in (([1], 8), ([2], 16), ([3], 32), ([4], 64), ([5], 32), ([2, 5], 48)):
            assert [v.shape for v in model.predict(x, embed=layers)] == [(width,)] * 2
        assert torch.equal(model.predict(x, embed=[4])[1], model.model[0](x)[-1].mean((2, 3))[1])
        detr = build(edited, detector_yaml("rtdetr-l", "starnet_s050", base_dim=8), "RTDETRDetectionModel").eval()
        assert [v.shape for v in detr.predict(x, embed=[3])] == [(32,)] * 2


def test_c8_the_backbones_list_is_not_changed(edited):
    model = build(edited, small()).eval()
    maps: list = []
    model.model[0].register_forward_hook(lambda _m, _x, y: maps.append(y))
    with torch.no_grad():
        model(torch.zeros(1, 3, 64, 64))
    assert [m.shape[1] for m in maps[0]] == [8, 16, 32, 64]


@pytest.mark.parametrize("before", [0, 1, 3])
def test_c9_the_shift_works_wherever_the_backbone_stands(edited, before):
    model = build(edited, small(before=before))
    assert [m.i for m in model.model] == [*range(before + 1), before + 5, before + 6]
    assert model.save == [before + 2, before + 3, before + 5]
    assert model.stride.tolist() == [8, 16, 32]


def test_c12_the_printed_summary_belongs_to_six_classes(edited):
    for nc, params in ((6, 1_826_058), (80, 1_859_128)):
        model = build(edited, str(ARTICLE), nc=nc)
        assert sum(p.numel() for p in model.parameters()) == params
        assert model.save == [2, 3, 6, 9, 12, 15, 18]


def test_stock_models_are_the_same_with_the_edits_in(edited):
    for name, kind in (("yolo11n.yaml", "DetectionModel"), ("rtdetr-l.yaml", "RTDETRDetectionModel")):
        outputs, states = [], []
        for tasks in (ultralytics_tasks, edited):
            torch.manual_seed(0)
            model = getattr(tasks, kind)(name, verbose=False).eval()
            states.append(model.state_dict())
            with torch.no_grad():
                outputs.append(model(torch.ones(1, 3, 160, 160))[0])
        assert all(torch.equal(states[0][k], states[1][k]) for k in states[0])
        assert torch.equal(*outputs)


# ---- the proof ---------------------------------------------------------------------------------------------------


def with_statistics(model):
    """BN statistics as images leave them: a fresh BN, mean 0 and variance 1, hides its eps."""
    norms = {m: m.momentum for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)}
    for m in norms:
        m.momentum = None
    with torch.no_grad():
        model.train().model[0](torch.rand(4, 3, 128, 128))
    for m, momentum in norms.items():
        m.momentum = momentum
    return model.eval()


def doors(edited, cfg, kind="DetectionModel", **keywords):
    """The same YAML through both doors, the plug's weights in both."""
    plug = with_statistics(build(ultralytics_tasks, cfg, kind, **keywords))
    ours = build(edited, cfg, kind, **keywords)
    return ours, plug, surgery.cross_weights(ours, plug)


def test_both_doors_are_equal_on_the_articles_yaml(edited):
    ours, plug, keys = doors(edited, str(ARTICLE), nc=6)
    found = surgery.compare(ours, plug, imgsz=(256, 320))
    assert found.equal, str(found)
    assert found.params == (1_826_058, 1_826_058)
    assert found.stride == ([8.0, 16.0, 32.0],) * 2
    assert [a.type for a, _ in found.rows][:3] == ["StarNet", "SPPF", "C2PSA"]
    assert found.rows[0][0].channels == (8, 16, 32, 64)
    assert len(keys) == len(plug.state_dict()) == 648
    assert "model.0.*      → model.0.backbone.*        335 tensors" in str(keys)


@pytest.mark.parametrize(
    ("host", "backbone", "args"),
    [
        ("yolo11", "fasternet_t0", {"embed_dim": 16, "out_norm": ["P3", "P4", "P5"]}),
        ("yolov8", "mobileone_s0", {}),
        ("rtdetr-l", "starnet_s050", {"base_dim": 8}),
        ("rtdetr-l", "vanillanet_5", {"dims": [16, 24, 32, 48, 64], "strides": [1, 2, 2, 2]}),
    ],
)
def test_both_doors_are_equal_for_every_family_and_host(edited, host, backbone, args):
    kind = "RTDETRDetectionModel" if host.startswith("rtdetr") else "DetectionModel"
    ours, plug, _ = doors(edited, detector_yaml(host, backbone, **args), kind)
    found = surgery.compare(ours, plug)
    assert found.equal, str(found)


def test_without_the_step_batchnorm_the_outputs_differ_and_nothing_else(tmp_path):
    four = surgery.copy_tasks(tmp_path, "tasks_of_a_test", ("branch", "shift", "forward", "rtdetr"))
    ours, plug, _ = doors(four, str(ARTICLE), nc=6)
    found = surgery.compare(ours, plug)
    assert found.same_structure
    assert not found.equal
    assert found.difference[256] > 1e-3


def test_the_proof_fails_where_it_should(edited):
    ours, plug, _ = doors(edited, small(8))
    with torch.no_grad():
        plug.model[0].backbone.stem[0].conv.weight[0, 0, 0, 0] += 1e-3  # one weight of one filter
    assert surgery.compare(ours, plug).difference[256] > 0
    wider = build(edited, small(16))
    assert not surgery.compare(wider, plug).same_structure
    with pytest.raises(WorkbenchError, match="hold other tensors"):
        surgery.key_map(wider, plug)
    with pytest.raises(WorkbenchError, match="have 3 and 4 rows"):
        surgery.key_map(ours, build(ultralytics_tasks, small(before=1)))


IN_A_FORK = """
import sys, torch, ultralytics
from ultralytics import YOLO
assert ultralytics.__file__.startswith(sys.argv[1]), ultralytics.__file__
article = YOLO(sys.argv[2])  # stock YOLO, edited tasks.py
assert "workbench.yolo" not in sys.modules
assert sum(p.numel() for p in article.model.parameters()) == 1_859_128
x = torch.ones(1, 3, 64, 64)
with torch.no_grad():
    before = article.model.half().float().eval()(x)[0]  # a checkpoint is stored in FP16
article.save(sys.argv[3])
import workbench.yolo  # the plug, in an edited fork
assert type(YOLO("yolo11n-starnet_s050.yaml").model.model[0]).__name__ == "BackboneLayer"
with torch.no_grad():
    after = YOLO(sys.argv[3]).model.float().eval()(x)[0]
assert torch.equal(before, after)
"""


def test_an_edited_fork_works_without_the_plug_and_with_it(tmp_path):
    """A fork as a learner has it: the article's YAML opens with plain ultralytics, and the plug does not mind."""
    package = tmp_path / "ultralytics"
    package.mkdir()
    for part in INSTALLED.iterdir():
        if part.name != "nn":
            (package / part.name).symlink_to(part)
    shutil.copytree(INSTALLED / "nn", package / "nn", ignore=shutil.ignore_patterns("__pycache__"))
    surgery.apply(tmp_path)
    arguments = [str(tmp_path), str(ARTICLE), str(tmp_path / "article.pt")]
    place = os.environ | {"PYTHONPATH": str(tmp_path), "YOLO_OFFLINE": "true"}
    run = subprocess.run([sys.executable, "-c", IN_A_FORK, *arguments], env=place, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
