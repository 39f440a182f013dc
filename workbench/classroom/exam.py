"""One ONNX file of a student, examined: what it is, how good its detections are, how quick it is.

The file is opened in a process of its own (`opener`), behind bubblewrap's walls where there are any and under limits
everywhere; what that process says is itself only read with care.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..datasets.draw import NAMES
from ..measure.stats import Ratio, Sample, paired_ratio
from .answers import Failed
from .course import ClassroomError
from .graph import BadFileError, check_size
from .sandbox import DiedError, Sandbox
from .walls import Limits, problem

STOCK = "yolo11n"
IMGSZ = 128  # pixels; what the preset "class" trains at
IMAGES = 200
STRIDES = (8, 16, 32)
# All files of a hostile submission together stay below the patience of `pool`, also when each is tried twice.
LIMITS = Limits(start_s=60.0, wall_s=120.0, cpu_s=100, memory_bytes=4 * 2**30, files=128, processes=100, threads=1)
OPEN_S, RUN_S, TIME_S = 20.0, 40.0, 20.0
ROUNDS, TIMING_S = 25, 8.0
BATCH = 50  # images in one request


Ports = tuple[tuple[str, str, tuple[int, ...]], ...]  # (name, type, shape)


@dataclass(frozen=True)
class Facts:
    """What a file is, as counted from its graph.

    Attributes:
        inputs, outputs: (name, type, shape).
        params: floating-point numbers stored.
        macs: multiply-adds of convolutions and matrix products, one image.
        size_bytes: of the file.
        training: whether it was exported in training mode.
        weights: the shapes of all stored matrices and kernels.
        sha256: of the file.
    """

    inputs: Ports
    outputs: Ports
    params: int
    macs: int
    size_bytes: int
    training: bool
    weights: tuple[tuple[int, ...], ...]
    sha256: str


@dataclass(frozen=True)
class Scored:
    """A detector's file with its quality and speed.

    Attributes:
        facts: counted.
        map50, map50_95: on the drawn images.
        low, high: 95 % interval of `map50` over the draw of the images.
        images: how many were drawn.
        latency: how many times slower than the stock detector, with its interval; None where it could not be timed.
        stock_params, stock_macs: of the stock detector, counted in the same way.
    """

    facts: Facts
    map50: float
    map50_95: float
    low: float
    high: float
    images: int
    latency: Ratio | None
    stock_params: int
    stock_macs: int

    def __str__(self) -> str:
        f = self.facts
        lines = [
            f"mAP50 {self.map50:.3f} [{self.low:.3f}, {self.high:.3f}], mAP50-95 {self.map50_95:.3f} on {self.images} "
            "images drawn anew",
            f"{f.macs:,} MACs and {f.params:,} parameters; stock {STOCK} has {self.stock_macs:,} and "
            f"{self.stock_params:,}",
        ]
        return "\n".join([*lines, *([f"latency / stock {STOCK}: {self.latency}"] if self.latency else [])])

    def to_record(self) -> dict[str, Any]:
        """Return it as a record keeps it: plain numbers, units in the names."""
        r = self.latency
        timed = {} if r is None else {
            "latency_ratio": r.ratio, "latency_low": r.low, "latency_high": r.high, "latency_pairs": r.n,
        }  # fmt: skip
        return {
            "map50": self.map50, "map50_low": self.low, "map50_high": self.high, "map50_95": self.map50_95,
            "images": self.images, "imgsz": IMGSZ, "refused": "", "params": self.facts.params, "macs": self.facts.macs,
            "size_bytes": self.facts.size_bytes, "sha256": self.facts.sha256[:16], **timed,
            "stock": STOCK, "stock_params": self.stock_params, "stock_macs": self.stock_macs,
        }  # fmt: skip


def opener() -> Any:
    """Start the process that opens one student's files; a context manager with ``ask(request, seconds)``."""
    return Sandbox(LIMITS, trusted=bool(problem()), module="workbench.classroom.opener")


class Here:
    """Opens files in this process: for one's own, and where something around it is tested."""

    def __init__(self) -> None:
        from .opener import Opener

        self._opener = Opener({})

    def ask(self, request: dict[str, Any], _seconds: float) -> dict[str, Any]:
        """Return the answer to a request."""
        return self._opener.answer(request)

    def __enter__(self) -> Here:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def open_file(data: bytes) -> Facts | Failed:
    """Return what a file is, or why it is refused."""
    return _guarded(data, lambda box: examine(box, data))


@functools.lru_cache(maxsize=4)
def score_file(data: bytes, seed: int, images: int = IMAGES, timing_s: float = TIMING_S) -> Scored | Failed:
    """Return quality, speed and cost of a detector's file, or why it is refused.

    Args:
        data: the file.
        seed: of the images; chosen when the work is graded, and never shown to the student's process.
        images: how many are drawn.
        timing_s: seconds for the latency; 0 leaves it out.
    """
    return _guarded(data, lambda box: score(box, data, seed, images, timing_s))


def _guarded(data: bytes, work: Callable[[Any], Any]) -> Any:
    for attempt in range(2):
        try:
            check_size(data)
            with _started() as box:
                return work(box)
        except BadFileError as e:
            return Failed(str(e))
        except DiedError as e:
            if not e.hung or attempt:  # a machine that was too busy for once is no fault of the file
                return Failed(f"the process that opened the file was stopped: {e}")
    raise AssertionError("unreachable")


def _started() -> Any:
    """Start the process. That it does not start is the machine's fault, and costs no points: it is raised.

    Raises:
        ClassroomError: it does not start, also when it is tried once more.
    """
    for _ in range(2):
        try:
            return opener()
        except DiedError as e:
            why = str(e)
    raise ClassroomError(f"the process that opens what was handed in does not start here: {why}")


def _ask(box: Any, request: dict[str, Any], seconds: float) -> dict[str, Any]:
    reply = box.ask(request, seconds)
    if "refused" in reply:
        raise BadFileError(str(reply["refused"])[:300])
    return dict(reply)


def examine(box: Any, data: bytes) -> Facts:
    """Return what a file is, from a process that is asked for it.

    Raises:
        BadFileError: it is refused.
    """
    found: Any = _ask(box, {"do": "open", "file": data}, OPEN_S).get("facts")
    try:
        return Facts(
            _read_ports(found["inputs"]), _read_ports(found["outputs"]), int(found["params"]), int(found["macs"]),
            len(data), bool(found["training"]), tuple(tuple(map(int, shape)) for shape in found["weights"]),
            hashlib.sha256(data).hexdigest(),
        )  # fmt: skip
    except (TypeError, ValueError, KeyError, OverflowError):
        raise BadFileError("what was found out about the file cannot be read") from None


def _read_ports(found: Any) -> Ports:
    return tuple((str(name), str(kind), tuple(map(int, shape))) for name, kind, shape in found)


def score(box: Any, data: bytes, seed: int, images: int, timing_s: float) -> Scored:
    """Return quality, speed and cost of a detector's file, from a process that is asked for them.

    Raises:
        BadFileError: it is refused.
    """
    from ..yolo import scoring

    facts = examine(box, data)
    wanted = 4 + len(NAMES), sum((IMGSZ // s) ** 2 for s in STRIDES)
    if [p[1:] for p in facts.inputs] != [("float", (1, 3, IMGSZ, IMGSZ))]:
        raise BadFileError(f"the input is {_ports(facts.inputs)}; expected one image, float 1×3×{IMGSZ}×{IMGSZ}")
    if [p[1:] for p in facts.outputs] != [("float", (1, *wanted))]:
        raise BadFileError(
            f"the output is {_ports(facts.outputs)}; expected float 1×{wanted[0]}×{wanted[1]}: boxes and "
            f"{len(NAMES)} classes of `shapes` at {wanted[1]} places"
        )
    if facts.training:
        raise BadFileError("the network was exported in training mode")
    pixels, truth = drawn(seed, images)
    raw = np.concatenate([_run(box, pixels[i : i + BATCH], wanted) for i in range(0, images, BATCH)])
    try:
        found = scoring.score(raw, truth)
    except ClassroomError:
        raise
    except ValueError as e:  # WorkbenchError: values that are not finite
        raise BadFileError(str(e)) from None
    stock, stock_params, stock_macs = stock_file()
    ratio = _latency(box, stock, timing_s) if timing_s else None
    return Scored(
        facts, found.map50, found.map50_95, found.low, found.high, images, ratio, stock_params, stock_macs
    )  # fmt: skip


def _ports(ports: Ports) -> str:
    return ", ".join(f"{kind} {'×'.join(map(str, shape))}" for _, kind, shape in ports[:4]) or "nothing"


def _run(box: Any, pixels: Any, wanted: tuple[int, int]) -> Any:
    reply = _ask(box, {"do": "run", "images": pixels.tobytes(), "shape": list(pixels.shape)}, RUN_S)
    try:
        return np.frombuffer(reply["out"], np.float32).reshape(len(pixels), *wanted)
    except (TypeError, ValueError, KeyError, OverflowError):
        raise BadFileError("what the network found has another shape than its file says") from None


def _latency(box: Any, stock: bytes, timing_s: float) -> Ratio | None:
    """Return the ratio to the stock detector; it decides no marks, so that a failure is no reason to refuse."""
    request = {"do": "time", "baseline": stock, "rounds": ROUNDS, "budget_s": timing_s}
    try:
        rows = _ask(box, request, timing_s + TIME_S)["samples"]
        samples = {
            k: [
                Sample(int(r), float(w), None if c is None else float(c), int(n), float(f)) for r, w, c, n, f in rows[k]
            ]
            for k in ("own", "baseline")
        }
        found = paired_ratio(samples["own"], samples["baseline"])
    except (BadFileError, DiedError, TypeError, ValueError, KeyError, ArithmeticError):
        return None
    return found if found.n and np.isfinite([found.ratio, found.low, found.high]).all() else None


@functools.lru_cache(maxsize=2)
def drawn(seed: int, images: int) -> tuple[Any, list[tuple[Any, Any]]]:
    """Return images (N, 3, S, S) uint8, RGB, that nobody has seen, and boxes and labels of each."""
    from ..datasets.shapes import shapes_scene

    scenes = [shapes_scene(i, "val", IMGSZ, seed) for i in range(images)]
    pixels = np.stack([s.image.transpose(2, 0, 1) for s in scenes])  # (N, 3, H, W)
    return pixels, [(s.boxes, s.labels) for s in scenes]


@functools.lru_cache(maxsize=1)
def stock_file() -> tuple[bytes, int, int]:
    """Return the stock detector's file, its parameters and its MACs."""
    from ..yolo.handin import stock_bytes
    from .graph import facts, read

    data = stock_bytes(STOCK, len(NAMES), IMGSZ)
    found = facts(read(data))
    return data, int(found["params"]), int(found["macs"])
