"""Device names as TensorFlow writes them: checked, and without effect."""

from __future__ import annotations

from typing import Any

_DEVICE_TYPES = frozenset({"CPU", "GPU", "TPU", "TPU_SYSTEM", "XLA_CPU", "XLA_GPU"})


def check_device(device: Any) -> None:
    """Accepts "/job:a/task:0/device:GPU:1", "/cpu:0", "", None, and functions that choose devices.

    Raises ValueError, in TensorFlow's words, for other strings and types.
    """
    if device is None or callable(device):
        return
    if not isinstance(device, str):
        raise ValueError(f"Expecting a string device name. Got {type(device)}({device!r})")
    types = 0
    for part in device.split("/"):
        types += _check_part(part.split(":"), device)
        if types > 1:
            raise ValueError(
                f"Multiple device types are not allowed while parsing the device spec: {device}."
            )


def _check_part(fields: list[str], device: str) -> bool:
    """Checks one ``name:value`` part; true for the one that names a device type."""
    name, values = fields[0], fields[1:]
    if name == "job" and values:
        return False
    if name in ("replica", "task") and values:
        int(values[0])
        return False
    if name == "device" and len(values) == 2:
        _check_index(values[1])
        return True
    if name.upper() in _DEVICE_TYPES and len(values) < 2:
        _check_index(*values)
        return True
    if name:
        raise ValueError(
            f"Unknown attribute '{name}' is encountered while parsing the device spec: '{device}'."
        )
    return False


def _check_index(index: str = "*") -> None:
    if index != "*":
        int(index)
