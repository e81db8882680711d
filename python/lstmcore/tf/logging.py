"""``tf.logging``: TensorFlow 1's names over the logger "lstmcore"; handlers are the program's."""

from __future__ import annotations

import logging as _logging
from logging import DEBUG, ERROR, FATAL, INFO, WARN
from typing import Any

from lstmcore.tf.missing import missing_name as _missing_name

_logger = _logging.getLogger("lstmcore")

debug, info, error, fatal, log = (
    _logger.debug,
    _logger.info,
    _logger.error,
    _logger.fatal,
    _logger.log,
)
warn = warning = _logger.warning


def set_verbosity(v: int | str) -> None:
    """Shows messages of this level and above: a number, or a name such as "INFO"."""
    _logger.setLevel(v)


def get_verbosity() -> int:
    return _logger.getEffectiveLevel()


__all__ = [
    "DEBUG",
    "ERROR",
    "FATAL",
    "INFO",
    "WARN",
    "debug",
    "error",
    "fatal",
    "get_verbosity",
    "info",
    "log",
    "set_verbosity",
    "warn",
    "warning",
]


def __getattr__(name: str) -> Any:
    raise _missing_name("tf.logging", name)
