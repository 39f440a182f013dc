"""The process in which a stranger's ONNX file is opened: checked, counted, run on images, timed. Of no use elsewhere.

``python -m workbench.classroom.opener FD LIMITS``, started by `capstone` behind the same walls as a student's code. It
knows images and no labels, so that nothing which decides marks can be found here.
"""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np

from .course import ClassroomError
from .graph import MAX_MACS, BadFileError, facts, read
from .inside import serve

TOO_LARGE = "it needs more memory than a network may have here"


class Opener:
    """Answers ``open``, ``run`` and ``time``. Whatever a file breaks becomes a reason, or the end of this process."""

    def __init__(self, limits: dict[str, Any]) -> None:
        self.data, self.facts = b"", dict[str, Any]()
        self._sessions: dict[bytes, Any] = {}

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Do what a request says."""
        try:
            if request["do"] == "open":
                self.data = request["file"]
                self.facts = facts(read(self.data))
                return {"facts": self.facts}
            if request["do"] == "run":
                return self.run(request["images"], request["shape"])
            if request["do"] == "time":
                return self.time(request["baseline"], request["rounds"], request["budget_s"])
            return {"refused": "nothing was asked"}
        except ClassroomError as e:
            return {"refused": str(e)}
        except MemoryError:
            return {"refused": TOO_LARGE}
        except Exception as e:
            line = " ".join(str(e).split())
            if any(
                word in line for word in ("arena", "alloc", "memory")
            ):  # ONNX Runtime has no error of its own for it
                return {"refused": TOO_LARGE}
            return {"refused": f"it cannot be run: {type(e).__name__}: {line}"[:200]}

    def session(self, data: bytes) -> Any:
        """Return a session of ONNX Runtime: one thread, no operators but its own."""
        import onnxruntime

        if data not in self._sessions:
            if self.facts["macs"] > MAX_MACS:
                raise BadFileError(f"it needs {self.facts['macs']:,} MACs an image; at most {MAX_MACS:,} are run")
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = options.inter_op_num_threads = 1
            options.log_severity_level = 4
            self._sessions[data] = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        return self._sessions[data]

    def run(self, images: bytes, shape: tuple[int, ...]) -> dict[str, Any]:
        """Return the first output for each image of a batch of uint8 (N, C, H, W), as float32 bytes, and its shape."""
        session = self.session(self.data)
        name = session.get_inputs()[0].name
        batch = np.frombuffer(images, np.uint8).reshape(shape)  # (N, C, H, W)
        found = [session.run(None, {name: one[None].astype(np.float32) / 255})[0] for one in batch]
        out = np.ascontiguousarray(np.concatenate(found), np.float32)  # (N, 4 + classes, places)
        return {"out": out.tobytes(), "shape": list(out.shape)}

    def time(self, baseline: bytes, rounds: int, budget_s: float) -> dict[str, Any]:
        """Return samples of the file and of a baseline, from one interleaved run."""
        from ..measure.rounds import Plan, SystemClock, interleave

        runs = {"own": _runner(self.session(self.data)), "baseline": _runner(self.session(baseline))}
        plan = Plan(rounds, budget_s, 0.01, min(15, rounds))
        samples, ending = interleave(runs, plan, SystemClock())
        rows = {k: [[s.round, s.wall_s, s.cpu_s, s.runs, s.faults] for s in v] for k, v in samples.items()}
        return {"samples": rows, "ending": ending}


def _runner(session: Any) -> Any:
    feed = session.get_inputs()[0]
    x = {feed.name: np.random.default_rng(0).random(feed.shape, np.float32)}

    def run(k: int) -> None:
        for _ in range(k):
            session.run(None, x)

    return run


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        serve(Opener)
