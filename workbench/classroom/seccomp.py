"""The system calls that graded code may not make, as a filter that bubblewrap loads (``--seccomp``).

No new processes (threads are allowed), no memory or mounts outside the limits, no looking into other processes.
`prlimit` alone would not stop a fork bomb where the instructor is root.
"""

from __future__ import annotations

import errno
import platform
import struct

ALLOW, KILL, REFUSE = 0x7FFF0000, 0x80000000, 0x00050000
LOAD, EQUAL, BITS, ATLEAST, RETURN = 0x20, 0x15, 0x45, 0x35, 0x06  # BPF: ld word, jeq, jset, jge, ret
CLONE_THREAD = 0x10000
FAMILIES = (1, 2, 10, 16)  # unix, IPv4, IPv6, netlink: all bound to the sandbox's own network, which has no way out
SHARED = (425, 426, 427, 428, 429, 430, 431, 432, 433, 438, 442, 447)  # io_uring, mounts, pidfd_getfd, memfd_secret
TABLES = {
    # architecture: (audit number, clone, socket, others: fork, memfd, shm, ptrace, namespaces, mounts, keys, bpf, perf)
    "x86_64": (0xC000003E, 56, 41, (
        57, 58, 319, 29, 30, 68, 101, 310, 311, 312, 272,
        308, 165, 166, 155, 161, 248, 249, 250, 321, 298, 323, 303, 304)),
    "aarch64": (0xC00000B7, 220, 198, (
        279, 194, 196, 186, 117, 270, 271, 272, 97, 268, 40, 39, 41, 51, 217, 218, 219, 280, 241, 282, 264, 265)),
}  # fmt: skip
CLONE3 = 435


def program(machine: str | None = None) -> bytes | None:
    """Return the filter for a machine, or None where we have no table for it.

    >>> len(program("x86_64")) % 8, program("pdp11")
    (0, None)
    """
    table = TABLES.get(machine or platform.machine())
    if table is None:
        return None
    audit, clone, socket, others = table
    refuse = REFUSE | errno.EPERM
    steps = [
        _step(LOAD, 4),
        _step(EQUAL, audit, 1, 0),
        _step(RETURN, KILL),
        _step(LOAD, 0),
        _step(ATLEAST, 0x40000000, 0, 1),  # x32's numbers
        _step(RETURN, refuse),
        _step(EQUAL, CLONE3, 0, 1),  # its flags are out of sight; libc falls back to clone
        _step(RETURN, REFUSE | errno.ENOSYS),
    ]
    for number in (*others, *SHARED):
        steps += [_step(EQUAL, number, 0, 1), _step(RETURN, refuse)]
    steps += [_step(EQUAL, clone, 0, 4), _step(LOAD, 16), _step(BITS, CLONE_THREAD, 1, 0), _step(RETURN, refuse)]
    steps += [_step(RETURN, ALLOW), _step(EQUAL, socket, 0, len(FAMILIES) + 3), _step(LOAD, 16)]
    steps += [_step(EQUAL, family, len(FAMILIES) - i, 0) for i, family in enumerate(FAMILIES)]
    steps += [_step(RETURN, refuse), _step(RETURN, ALLOW), _step(RETURN, ALLOW)]
    return b"".join(steps)


def _step(code: int, value: int, yes: int = 0, no: int = 0) -> bytes:
    return struct.pack("=HBBI", code, yes, no, value)
