"""The Compare panel's filter: words such as ``macs<500M latency<=10 star``, read into a test of rows."""

from __future__ import annotations

import re
from collections.abc import Callable
from fnmatch import fnmatchcase
from operator import ge, gt, le, lt

from ..errors import WorkbenchError, did_you_mean
from ._compare import FIELDS, Field, Row

FACTORS = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9}
SIGNS: dict[str, Callable[[float, float], bool]] = {"<": lt, "<=": le, ">": gt, ">=": ge}


def parse_filter(text: str) -> Callable[[Row], bool]:
    """Return a test of rows from words such as ``macs<500M latency<=10 starnet``; all must hold.

    A number is in the unit a property is printed in, or with K, M, G in absolute ones; any other word is part of a
    name, or a pattern with ``*``. A row whose number is unknown fails the test.

    Raises:
        WorkbenchError: a word that cannot be understood.

    >>> keep = parse_filter("macs<500M star")
    >>> keep({"name": "starnet_s1", "macs": 4.3e8}), keep({"name": "starnet_s4", "macs": 1.1e9})
    (True, False)
    """
    tests = [_word(w) for w in re.sub(r"\s*(<=|>=|<|>)\s*", r"\1", text.replace(",", " ")).split()]
    return lambda row: all(test(row) for test in tests)


def _word(word: str) -> Callable[[Row], bool]:
    parts = re.fullmatch(r"(\w+)(<=|>=|<|>)([\d.]+)([kKmMgG]?)", word)
    if parts is None:
        if re.search("[<>=]", word):
            raise WorkbenchError(f"{word!r} is no filter; write a property, < or >, and a number, e.g. macs<500M")
        pattern = word if "*" in word else f"*{word}*"
        return lambda row: fnmatchcase(row["name"], pattern)
    key, sign, digits, unit = parts.groups()
    f = field(key.lower())
    try:
        limit = float(digits) * (FACTORS[unit.lower()] if unit else f.scale)
    except ValueError:
        raise WorkbenchError(f"{digits!r} in {word!r} is no number") from None

    def test(row: Row) -> bool:
        value = row.get(f.key)
        return value is not None and bool(SIGNS[sign](value, limit))

    return test


def field(name: str) -> Field:
    """Return a field by its key or the beginning of its key.

    Raises:
        WorkbenchError: no field, or several, of that name.
    """
    found = [FIELDS[name]] if name in FIELDS else [f for key, f in FIELDS.items() if key.startswith(name)]
    if len(found) != 1:
        hint = did_you_mean(name, FIELDS) or f"; expected one of {', '.join(FIELDS)}"
        raise WorkbenchError(f"no property {name!r}{hint}")
    return found[0]
