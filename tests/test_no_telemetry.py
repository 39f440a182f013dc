"""Importing and using the workbench opens no connection and asks no name server, and installs nothing.

Python's audit events see every socket, whoever opens it: a fresh process does what a learner does in the first hour,
and every event that reaches for another machine is counted.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap

WATCHED = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "urllib.Request")

PROGRAM = """
import json, sys
seen = []
def watch(event, args):
    if event in {watched!r}:
        seen.append([event, repr(args[-1])])
    elif event == "subprocess.Popen" and "pip" in map(str, args[1] or ()):
        seen.append([event, repr(args[1])])
sys.addaudithook(watch)
{body}
print(json.dumps(seen))
"""

FIRST_HOUR = """
import workbench as wb
for name in wb.__all__:
    getattr(wb, name)
net = wb.create_backbone("starnet_s1", num_classes=10)
wb.deploy(net.eval())
wb.measure.count(net, imgsz=64)
wb.measure.latency({"a": net}, imgsz=32, rounds=2, budget_s=2, sample_ms=1, progress=False, process="here")
data = wb.datasets.shapes(n_train=8, n_val=4, imgsz=64)
run = wb.train(backbone="fasternet_t0", data=data, preset="fast", epochs=1, out="run", quiet=True)
run.detector().predict(wb.datasets.photo("cat"), imgsz=64, verbose=False)
str(wb.doctor())
"""


def connections(body: str, folder, **environment: str) -> list[list[str]]:
    """Run a program in a fresh process and return its network events, and what it had pip do."""
    code = PROGRAM.format(watched=WATCHED, body=textwrap.dedent(body))
    env = {k: v for k, v in os.environ.items() if not k.startswith("YOLO_")} | environment
    env |= {"YOLO_CONFIG_DIR": str(folder / "settings"), "MPLBACKEND": "Agg"}
    (folder / "settings").mkdir(exist_ok=True)
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_the_first_hour_opens_no_connection(tmp_path):
    assert connections(FIRST_HOUR, tmp_path) == []


def test_a_connection_would_be_seen(tmp_path):
    body = """
    import socket
    try:
        socket.create_connection(("127.0.0.1", 9), timeout=1)
    except OSError:
        pass
    """
    assert {event for event, _ in connections(body, tmp_path)} >= {"socket.getaddrinfo", "socket.connect"}


def test_the_users_settings_are_not_touched(tmp_path):
    """Analytics and auto-install are off in the process; what the user chose in ultralytics' file stays."""
    connections("import ultralytics", tmp_path)
    (settings,) = tmp_path.rglob("settings.json")
    before = settings.read_bytes()
    body = """
    import workbench as wb
    wb.YOLO
    from ultralytics.utils import checks
    from ultralytics.utils.events import events
    assert checks.AUTOINSTALL is False and events.enabled is False
    """
    connections(body, tmp_path)
    assert settings.read_bytes() == before


def test_the_first_import_on_a_machine_prints_nothing(tmp_path):
    """ultralytics makes its settings file as ever; where it lies is not told in the middle of a lesson's output."""
    (tmp_path / "settings").mkdir()
    env = os.environ | {"YOLO_CONFIG_DIR": str(tmp_path / "settings")}

    def printed(code: str) -> str:
        done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    greeting = "Creating new Ultralytics Settings"  # held back while it is imported, and never afterwards
    said = f"; from ultralytics.utils import LOGGER; LOGGER.info('as ever'); LOGGER.info({greeting!r})"
    assert printed("import workbench as wb; wb.YOLO" + said) == f"as ever\n{greeting}\n"
    (settings,) = tmp_path.rglob("settings.json")

    settings.write_text(json.dumps(json.loads(settings.read_text()) | {"settings_version": "0.0.1"}))
    assert "WARNING" in printed("import workbench as wb; wb.YOLO"), "ultralytics' own warnings must stay"
