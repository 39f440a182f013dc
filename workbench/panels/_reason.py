"""Why something could not be done, in one line, whatever went wrong."""

from __future__ import annotations

from ..errors import WorkbenchError

NO_MEMORY = "not enough memory for this choice; take a smaller image, batch or network"
SIGNS = ("can't allocate memory", "cannot allocate memory", "not enough memory", "out of memory")


def reason(error: BaseException) -> str:
    """Return why something could not be done, in one line.

    >>> reason(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."))
    'not enough memory for this choice; take a smaller image, batch or network'
    >>> reason(WorkbenchError("batch=0 given; expected 1 or more")), reason(KeyError("x"))
    ('batch=0 given; expected 1 or more', "KeyError: 'x'")
    """
    text = (str(error).splitlines() or [""])[0]
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and any(s in text.lower() for s in SIGNS)):
        return NO_MEMORY
    if isinstance(error, WorkbenchError | OSError) and text:
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
