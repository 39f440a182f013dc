"""What runs inside answers plainly, and what comes out is read with suspicion. Without walls: the code is ours here."""

from __future__ import annotations

import base64
import json
import os
import struct
from typing import ClassVar

import pytest

from workbench.classroom import ClassroomError
from workbench.classroom.executed import MAX_IMAGE, executed
from workbench.classroom.plain import HEAD, MAX_DEPTH, pack, unpack
from workbench.classroom.sandbox import DiedError, Sandbox
from workbench.classroom.sheet import Step
from workbench.classroom.walls import Limits

LIMITS = Limits(cell_s=2.0, call_s=0.5, wall_s=60.0, output_bytes=200, reply_bytes=2**20)
TRACE = object()  # IPython's own, on the page too
PNG = base64.b64encode(b"\x89PNG and the rest").decode()
unix = pytest.mark.skipif(os.name == "nt", reason="grading needs a Unix")


@pytest.fixture(scope="module")
def box():
    with Sandbox(LIMITS, trusted=True) as made:
        yield made


def run(box, source: str) -> dict:
    return box.ask({"do": "cell", "source": source}, LIMITS.cell_s)


def call(box, name: str, *arguments) -> dict:
    return box.ask({"do": "call", "name": name, "arguments": arguments}, LIMITS.call_s)


# --- cells and calls ------------------------------------------------------------------------------------------------


@unix
@pytest.mark.parametrize(
    ("source", "kinds", "text", "error"),
    [
        ("1 + 1", ["display"], "2", None),
        ("print('\\x1b[31mred\\x1b[0m')", ["stdout"], "red\n", None),
        ("import sys; print('a'); print('b', file=sys.stderr)", ["stdout", "stderr"], "a\n", None),
        ("print('é' * 5000)", ["stdout"], "é" * 100 + "\n… 9,801 more bytes were left out\n", None),
        ("1 / 0", ["stdout"], TRACE, "ZeroDivisionError: division by zero"),
        ("def f(:", ["stdout"], TRACE, "SyntaxError: "),
        ("import sys; sys.exit(3)", ["stdout", "stderr"], TRACE, "SystemExit: 3"),
        ("raise MemoryError", ["stdout"], TRACE, "MemoryError: more memory than a submission may have"),
        ("while True:\n    try:\n        while True: pass\n    except Exception: pass", ["stdout"], TRACE,
         "TimeoutError: stopped after 2 s"),
        ("class Bad:\n    def __repr__(self): raise KeyboardInterrupt\nBad()", None, None, None),
    ],
)  # fmt: skip
def test_a_cell(box, source, kinds, text, error):
    reply = run(box, source)
    if kinds is None:
        assert run(box, "2 + 2")["outputs"][0]["data"]["text/plain"] == "4", "it goes on"
        return
    assert [o["kind"] for o in reply["outputs"]] == kinds
    if kinds:
        first = reply["outputs"][0]
        came = first.get("text", first.get("data", {}).get("text/plain"))
        assert came == text or (text is TRACE and error.split(":")[0].replace("TimeoutError", "TooLong") in came)
    assert (reply["error"] or "").startswith(error or "")
    assert (reply["error"] is None) == (error is None)


@unix
def test_images_come_as_text_and_other_kinds_not_at_all(box):
    reply = run(
        box,
        f"from IPython.display import display\ndisplay({{'image/png': {PNG!r}, 'text/html': '<b>x</b>'}}, raw=True)",
    )
    assert [o["data"] for o in reply["outputs"]] == [{"image/png": PNG}]


@unix
def test_calls(box):
    run(
        box,
        "def total(xs, by=[]):\n    xs.append(1); by.append(1)\n    return sum(xs)\ndef stuck():\n    while True: pass",
    )
    assert call(box, "total", [1, 2]) == {"result": 4}
    assert call(box, "total", [1, 2]) == {"result": 4}, "on a copy of its arguments"
    assert call(box, "total")["error"].startswith("TypeError: total() missing 1 required positional argument")
    assert call(box, "nobody")["error"] == "NameError: there is no nobody after your cells have run"
    assert call(box, "stuck")["error"] == "TimeoutError: stopped after 0.5 s"
    run(
        box,
        "def key(): return {}['total']\ndef leave(): raise SystemExit\ndef say(): raise ValueError('a\\n' + 'b' * 900)",
    )
    assert call(box, "key")["error"] == "KeyError: 'total'"
    assert call(box, "leave")["error"] == "SystemExit"
    said = call(box, "say")["error"]
    assert said.startswith("ValueError: a bbb")
    assert len(said) == 300


@unix
def test_a_fresh_run_knows_nothing(box):
    run(
        box, "import os\nkept = 1\nopen('mine.py', 'w').write('x = 1')\nimport mine\nos.mkdir('deep'); os.chdir('deep')"
    )
    assert box.ask({"do": "fresh"}, 5.0) == {}
    assert run(box, "kept")["error"].startswith("NameError")
    assert run(box, "import sys, os\nprint('mine' in sys.modules, os.path.basename(os.getcwd()))")["outputs"][0][
        "text"
    ].startswith("False ")
    assert box.ask({"do": "nothing of this"}, 5.0) == {}
    assert box.ask({"what": 1}, 5.0) == {"error": "KeyError"}


@unix
@pytest.mark.parametrize(
    ("source", "said", "hung"),
    [
        ("import os; os._exit(0)", "it ended the process", False),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "it used more than 300 s of the processor", False),
        (
            "import signal, time; signal.signal(signal.SIGALRM, signal.SIG_IGN); time.sleep(60)",
            "it did not stop in time",
            True,
        ),
    ],
)
def test_a_process_that_is_gone(source, said, hung):
    with Sandbox(LIMITS, trusted=True) as box:
        with pytest.raises(DiedError, match=said) as error:
            box.ask({"do": "cell", "source": source}, 1.0)
        assert error.value.hung is hung


@unix
def test_a_result_has_a_size():
    with Sandbox(LIMITS, trusted=True) as box:
        run(box, "def big(): return b'x' * 2**21")
        with pytest.raises(DiedError, match="it returned 2 MB, more than a result may have"):
            call(box, "big")


@unix
def test_what_lies_beside_the_notebook_can_be_read(tmp_path):
    (tmp_path / "data.csv").write_text("a,b\n")
    with Sandbox(LIMITS, trusted=True, files=[tmp_path / "data.csv"]) as box:
        assert run(box, "print(open('data.csv').read())")["outputs"][0]["text"] == "a,b\n\n"


# --- what crosses the wall ------------------------------------------------------------------------------------------


def frame(data: object, blob: bytes = b"") -> bytes:
    text = json.dumps(data).encode()
    return HEAD.pack(len(text), len(blob)) + text + blob


@pytest.mark.parametrize(
    "bad",
    [
        struct.pack(">QQ", 5, 0) + b"1",
        struct.pack(">QQ", 2, 0) + b"{}",
        struct.pack(">QQ", 1, 0) + b"{",
        frame([1, 2]),
        frame({"l": [1], "t": [2]}),
        frame({"l": 5}),
        frame({"d": [[{"l": []}, 1]]}),  # a list is no key
        frame({"s": [{"l": []}]}),
        frame({"b": [0, 9]}, b"abc"),
        frame({"b": [-1, 1]}, b"abc"),
        frame({"x": ["float32", [2], 0]}, b"\0" * 7),
        frame({"x": ["float32", [-2], 0]}, b"\0" * 8),
        frame({"x": ["float32", [2**62, 2], 0]}, b"\0" * 8),
        frame({"x": ["complex64", [1], 0]}, b"\0" * 8),
        frame({"x": ["float32", [True], 0]}, b"\0" * 8),
        frame({"x": ["float32", [1] * 13, 0]}, b"\0" * 8),
        frame(json.loads('{"l": [' * 40 + "1" + "]}" * 40)),
    ],
    ids=range(17),
)
def test_a_frame_that_pack_did_not_write(bad):
    with pytest.raises(ClassroomError, match="the results"):
        unpack(bad)


def test_what_is_not_plain_is_only_a_name():
    class Sly(dict):
        pass

    assert type(unpack(pack(Sly(a=1)))).__name__ == "Sly"
    assert type(unpack(frame({"o": "__import__('os')"}))).__name__ == "__import__os"
    assert type(unpack(frame({"o": "1 2"}))).__name__ == "Other"
    assert unpack(pack({"a": (1, [b"x", {2}], None, "ü\ud800")})) == {"a": (1, [b"x", {2}], None, "ü?")}
    deep: list = []
    for _ in range(MAX_DEPTH + 5):
        deep = [deep]
    found = unpack(pack(deep))
    while isinstance(found, list):
        (found,) = found
    assert type(found).__name__ == "list", "the name of what was too deep"
    assert type(unpack(pack(1 << 20_000))).__name__ == "int"


def test_tensors_come_back_as_they_were():
    torch = pytest.importorskip("torch")
    values = [torch.arange(6).reshape(2, 3), torch.ones(2, dtype=torch.bfloat16), torch.zeros(0, 3), torch.tensor(True)]
    for came, sent in zip(unpack(pack(values)), values, strict=True):
        assert came.dtype == sent.dtype
        assert torch.equal(came, sent)
    assert type(unpack(pack(torch.ones(2, 2).to_sparse()))).__name__ == "Tensor"


# --- the graded notebook --------------------------------------------------------------------------------------------


class NoSource:
    cells: ClassVar[dict] = {}


def outputs_of(step: Step, reply: dict) -> list:
    return json.loads(executed(NoSource, [step], {0: reply}))["cells"][0]["outputs"]


def test_only_text_and_png_are_kept():
    step = Step("", "extra", "x", {"cell_type": "code"})
    reply = {
        "outputs": [
            {"kind": "stdout", "text": "a\0b"}, "no dict", {"kind": "display", "data": "no dict"},
            {"kind": "display", "data": {"text/html": "<script>", "text/plain": ["a", "b"]}},
            {"kind": "display", "data": {"image/png": PNG}}, {"kind": "display", "data": {"image/png": "AAAA"}},
            {"kind": "display", "data": {"image/png": "A" * (MAX_IMAGE + 1)}},
            {"kind": "display", "data": {"image/png": "%"}},
        ],
        "error": "ValueError: too: long",
    }  # fmt: skip
    found = outputs_of(step, reply)
    assert [o["output_type"] for o in found] == ["stream", "display_data", "display_data", "error"]
    assert "".join(found[0]["text"]) == "ab"
    assert found[1]["data"] == {"text/plain": ["ab"]}
    assert found[2]["data"] == {"image/png": [PNG]} or found[2]["data"] == {"image/png": PNG}
    assert (found[3]["ename"], found[3]["evalue"]) == ("ValueError", "too: long")
    assert outputs_of(step, {"outputs": 7, "error": 8}) == []


def test_a_measurement_shows_what_it_showed_at_home():
    cell = {
        "cell_type": "code",
        "outputs": [
            {"output_type": "stream", "name": "stderr", "text": ["4 ms", "\n"]}, 5,
            {"output_type": "execute_result", "data": {"text/html": "<script>alert(1)</script>", "text/plain": "x"}},
            {"output_type": "error", "ename": "E", "evalue": "", "traceback": []},
        ],
    }  # fmt: skip
    found = outputs_of(Step("", "run", "", cell), {"outputs": [{"kind": "stdout", "text": "never"}]})
    assert [(o["output_type"], "".join(o.get("text", o.get("data", {}).get("text/plain", "")))) for o in found] == [
        ("stream", "4 ms\n"),
        ("display_data", "x"),
    ]
    assert outputs_of(Step("", "run", "", {"cell_type": "code", "outputs": "none"}), {}) == []
