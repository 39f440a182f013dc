"""ultralytics tells where its settings are, the first time on a machine: not in the middle of a lesson's output."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

GREETING = "Creating new Ultralytics Settings"  # printed once, when there is no settings file yet


@contextmanager
def without_greeting() -> Iterator[None]:
    """Import ultralytics in here. Its settings file is made as ever, its warnings are printed; the greeting is not.

    ``workbench yolo settings`` shows the file and what is in it.
    """
    logger = logging.getLogger("ultralytics")
    logger.addFilter(no_greeting)
    try:
        yield
    finally:
        logger.removeFilter(no_greeting)


def no_greeting(record: logging.LogRecord) -> bool:
    """Return whether a record may be printed.

    >>> no_greeting(logging.makeLogRecord({"msg": "Creating new Ultralytics Settings v0.0.6 file"}))
    False
    >>> no_greeting(logging.makeLogRecord({"msg": "settings updated to the latest schema", "levelno": logging.WARNING}))
    True
    """
    return not record.getMessage().startswith(GREETING)
