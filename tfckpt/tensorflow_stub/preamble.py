"""What scripts call before they read: settings for devices, graphs and random numbers, which change nothing here.

The functions return what TensorFlow returns on a machine without devices.
Messages of `tf.logging` go to Python's logger `tensorflow`.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from typing import Any

_counts: dict[str, int] = {}


class Options:
    """A message of options, such as `ConfigProto`; every field exists, and none has an effect."""

    FULL_TRACE, HARDWARE_TRACE, NO_TRACE, SOFTWARE_TRACE = 3, 2, 0, 1

    def __init__(self, **fields: Any) -> None:
        self.__dict__.update(fields)

    def __getattr__(self, name: str) -> Options:
        if name.startswith("__"):
            raise AttributeError(name)
        value = Options()
        setattr(self, name, value)
        return value


def device(device_name: object) -> contextlib.AbstractContextManager[None]:
    """Return a block without effect."""
    return contextlib.nullcontext()


def nothing(*args: object, **kwargs: object) -> None:
    """Do nothing."""


def no_devices(*args: object, **kwargs: object) -> list[Any]:
    """Return an empty list."""
    return []


def no(*args: object, **kwargs: object) -> bool:
    """Return False."""
    return False


def no_name(*args: object, **kwargs: object) -> str:
    """Return an empty string."""
    return ""


def get_logger() -> logging.Logger:
    """Return the logger `tensorflow`; it prints to standard error, unless the program has configured logging."""
    logger = logging.getLogger("tensorflow")
    if not logger.handlers and not logging.getLogger().handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter(logging.BASIC_FORMAT))
        logger.addHandler(handler)
    return logger


def log(level: int, msg: object, *args: object, **kwargs: Any) -> None:
    """Write a message to the log."""
    get_logger().log(level, msg, *args, **kwargs)


def debug(msg: object, *args: object, **kwargs: Any) -> None:
    """Write a message of the level DEBUG."""
    get_logger().debug(msg, *args, **kwargs)


def info(msg: object, *args: object, **kwargs: Any) -> None:
    """Write a message of the level INFO."""
    get_logger().info(msg, *args, **kwargs)


def warning(msg: object, *args: object, **kwargs: Any) -> None:
    """Write a message of the level WARN."""
    get_logger().warning(msg, *args, **kwargs)


def error(msg: object, *args: object, **kwargs: Any) -> None:
    """Write a message of the level ERROR."""
    get_logger().error(msg, *args, **kwargs)


def fatal(msg: object, *args: object, **kwargs: Any) -> None:
    """Write a message of the level FATAL; the program goes on."""
    get_logger().fatal(msg, *args, **kwargs)


def log_if(level: int, msg: object, condition: object, *args: object) -> None:
    """Write a message if a condition is true."""
    if condition:
        log(level, msg, *args)


def log_first_n(level: int, msg: str, n: int, *args: object) -> None:
    """Write the first `n` messages with this text."""
    _counts[msg] = count = _counts.get(msg, 0) + 1
    log_if(level, msg, count <= n, *args)


def log_every_n(level: int, msg: str, n: int, *args: object) -> None:
    """Write every `n`-th message with this text, and the first."""
    _counts[msg] = count = _counts.get(msg, -1) + 1
    log_if(level, msg, count % n == 0, *args)


def set_verbosity(v: Any) -> None:
    """Set the lowest level that is written."""
    get_logger().setLevel(v)


def get_verbosity() -> int:
    """Return the lowest level that is written."""
    return get_logger().getEffectiveLevel()


LOGGING: dict[str, Any] = {
    **{function.__name__: function for function in (debug, error, fatal, get_verbosity, info, log, log_every_n,
                                                    log_first_n, log_if, set_verbosity, warning)},
    "vlog": log,
    "warn": warning,
    "flush": nothing,
    "DEBUG": logging.DEBUG,
    "ERROR": logging.ERROR,
    "FATAL": logging.FATAL,
    "INFO": logging.INFO,
    "WARN": logging.WARNING,
}  # fmt: skip

CONFIG: dict[str, dict[str, Any]] = {
    "config": {
        "get_visible_devices": no_devices,
        "list_logical_devices": no_devices,
        "list_physical_devices": no_devices,
        "run_functions_eagerly": nothing,
        "set_logical_device_configuration": nothing,
        "set_soft_device_placement": nothing,
        "set_visible_devices": nothing,
    },
    "config.experimental": {
        "enable_tensor_float_32_execution": nothing,
        "get_visible_devices": no_devices,
        "list_logical_devices": no_devices,
        "list_physical_devices": no_devices,
        "set_memory_growth": nothing,
        "set_visible_devices": nothing,
    },
    "config.optimizer": {"set_experimental_options": nothing, "set_jit": nothing},
    "config.threading": {"set_inter_op_parallelism_threads": nothing, "set_intra_op_parallelism_threads": nothing},
}
