"""Cells that keep their state between calls, for inputs that arrive step by step."""

from lstmcore.streams.bank import StreamBank
from lstmcore.streams.stream import Stream

__all__ = ["Stream", "StreamBank"]
