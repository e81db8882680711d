"""Golden cases above one cell: unrolled sequences, stacks, and TensorFlow's LSTM block operations.

A sequence case gets a TensorFlow 1 namespace, the real one or lstmcore's, and its inputs. It
returns the cells whose variables are to be set and a function that runs them, so both libraries run
the same source. A block case is an operation's name with its attributes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from golden_cases import draw, weight

Run = Callable[[], Any]
SequenceCase = Callable[[Any, dict[str, Any]], tuple[list[Any], Run]]

BATCH, TIME, DEPTH = 5, 9, 6


def sequence_inputs(name: str, dtype: str) -> dict[str, np.ndarray]:
    """Arrays a sequence case may use. Lengths are of every kind: 0, 1, some, all, beyond."""
    return {
        "x": draw(f"{name}/x", (BATCH, TIME, DEPTH), 4.0, dtype),
        "x_time_major": draw(f"{name}/x", (TIME, BATCH, DEPTH), 4.0, dtype),
        "c": draw(f"{name}/c", (BATCH, 7), 1.0, dtype),
        "h": draw(f"{name}/h", (BATCH, 7), 1.0, dtype),
        "h_proj": draw(f"{name}/h_proj", (BATCH, 4), 1.0, dtype),
        "lengths": np.array([4, 0, 9, 1, 7], np.int32),
        "lengths_beyond": np.array([4, 12, 9, 0, 7], np.int64),
    }


def _dynamic(tf: Any, a: dict[str, Any]) -> tuple[list[Any], Run]:
    cell = tf.nn.rnn_cell.BasicLSTMCell(7, forget_bias=0.3)
    state = tf.nn.rnn_cell.LSTMStateTuple(a["c"], a["h"])
    return [cell], lambda: tf.nn.dynamic_rnn(cell, a["x"], initial_state=state)


def _dynamic_lengths(tf: Any, a: dict[str, Any]) -> tuple[list[Any], Run]:
    cell = tf.nn.rnn_cell.LSTMCell(
        7, use_peepholes=True, cell_clip=0.6, num_proj=4, proj_clip=0.4, forget_bias=-0.5
    )
    state = tf.nn.rnn_cell.LSTMStateTuple(a["c"], a["h_proj"])
    return [cell], lambda: tf.nn.dynamic_rnn(
        cell, a["x"], sequence_length=a["lengths_beyond"], initial_state=state
    )


def _dynamic_time_major(tf: Any, a: dict[str, Any]) -> tuple[list[Any], Run]:
    cell = tf.nn.rnn_cell.LSTMCell(7, num_proj=4, activation="softsign", name="mine")
    return [cell], lambda: tf.nn.dynamic_rnn(
        cell,
        a["x_time_major"],
        sequence_length=a["lengths"],
        dtype=a["x"].dtype,
        time_major=True,
        scope="outer",
    )


def _dynamic_stack(tf: Any, a: dict[str, Any]) -> tuple[list[Any], Run]:
    cells = [
        tf.nn.rnn_cell.LSTMCell(7, use_peepholes=True, forget_bias=0.4),
        tf.nn.rnn_cell.BasicLSTMCell(5),
        tf.nn.rnn_cell.LSTMCell(8, num_proj=5, cell_clip=0.5),
    ]
    dropout = tf.nn.rnn_cell.DropoutWrapper(cells[1], output_keep_prob=1.0)
    residual = tf.nn.rnn_cell.ResidualWrapper(cells[2])
    stack = tf.nn.rnn_cell.MultiRNNCell([cells[0], dropout, residual])
    return cells, lambda: tf.nn.dynamic_rnn(
        stack, a["x"], sequence_length=a["lengths"], dtype=a["x"].dtype
    )


def _bidirectional(tf: Any, a: dict[str, Any]) -> tuple[list[Any], Run]:
    forward = tf.nn.rnn_cell.LSTMCell(7, forget_bias=0.4)
    backward = tf.nn.rnn_cell.LSTMCell(3, use_peepholes=True, num_proj=2, activation="relu")
    return [forward, backward], lambda: tf.nn.bidirectional_dynamic_rnn(
        forward, backward, a["x"], sequence_length=a["lengths"], dtype=a["x"].dtype
    )


def _static(tf: Any, a: dict[str, Any]) -> tuple[list[Any], Run]:
    cell = tf.nn.rnn_cell.LSTMCell(7, forget_bias=2.0)
    state = tf.nn.rnn_cell.LSTMStateTuple(a["c"], a["h"])
    return [cell], lambda: tf.nn.static_rnn(
        cell,
        [a["x"][:, t] for t in range(TIME)],
        initial_state=state,
        sequence_length=a["lengths"],
    )


def _static_bidirectional(tf: Any, a: dict[str, Any]) -> tuple[list[Any], Run]:
    forward = tf.nn.rnn_cell.BasicLSTMCell(7)
    backward = tf.nn.rnn_cell.BasicLSTMCell(3, forget_bias=-1.5)
    return [forward, backward], lambda: tf.nn.static_bidirectional_rnn(
        forward,
        backward,
        [a["x"][:, t] for t in range(TIME)],
        dtype=a["x"].dtype,
        sequence_length=a["lengths"],
    )


SEQUENCE_CASES: dict[str, SequenceCase] = {
    "dynamic_rnn": _dynamic,
    "dynamic_rnn_lengths": _dynamic_lengths,
    "dynamic_rnn_time_major": _dynamic_time_major,
    "dynamic_rnn_stack": _dynamic_stack,
    "bidirectional_dynamic_rnn": _bidirectional,
    "static_rnn": _static,
    "static_bidirectional_rnn": _static_bidirectional,
}


def flatten(nested: Any) -> list[Any]:
    """Leaves of nested lists and tuples, left to right."""
    if isinstance(nested, (list, tuple)):
        return [leaf for part in nested for leaf in flatten(part)]
    return [nested]


OP_BATCH, OP_TIME, OP_DEPTH, OP_CELL = 3, 6, 5, 9
OUTPUTS = ("i", "cs", "f", "o", "ci", "co", "h")


@dataclass(frozen=True)
class BlockCase:
    """One raw operation with its attributes; float32 is the one dtype both libraries have."""

    name: str
    op: str
    attributes: dict[str, Any] = field(default_factory=dict)
    steps: int = OP_TIME

    def arguments(self) -> dict[str, Any]:
        """All keyword arguments. cs_prev is large enough for the default clip of 3 to act."""
        case = "block"
        args: dict[str, Any] = {
            "x": draw(f"{case}/x", (OP_TIME, OP_BATCH, OP_DEPTH), 4.0, np.float32),
            "cs_prev": draw(f"{case}/cs_prev", (OP_BATCH, OP_CELL), 8.0, np.float32),
            "h_prev": draw(f"{case}/h_prev", (OP_BATCH, OP_CELL), 1.0, np.float32),
            "w": weight(case, "w", (OP_DEPTH + OP_CELL, 4 * OP_CELL), np.float32),
            "b": weight(case, "b", (4 * OP_CELL,), np.float32),
        }
        args |= {n: weight(case, n, (OP_CELL,), np.float32) for n in ("wci", "wcf", "wco")}
        if self.op == "LSTMBlockCell":
            args["x"] = args["x"][0]
        else:
            args["seq_len_max"] = np.int64(self.steps)
        return args | self.attributes

    def defined(self, output: str, value: np.ndarray) -> np.ndarray:
        """The part of an output that TensorFlow writes: past seq_len_max only cs and h."""
        if self.op == "LSTMBlockCell" or output in ("cs", "h"):
            return value
        return value[: self.steps]


_PEEPHOLES = {"use_peephole": True, "forget_bias": -0.5, "cell_clip": 0.7}

BLOCK_CASES = [
    BlockCase("cell_defaults", "LSTMBlockCell"),
    BlockCase("cell_peepholes", "LSTMBlockCell", _PEEPHOLES),
    BlockCase("cell_no_clip", "LSTMBlockCell", {"cell_clip": -1.0, "forget_bias": 2.5}),
    BlockCase("sequence_defaults", "BlockLSTM"),
    BlockCase("sequence_peepholes", "BlockLSTM", _PEEPHOLES),
    BlockCase("sequence_part", "BlockLSTM", {"cell_clip": 0.0, "forget_bias": 0.5}, steps=4),
    BlockCase("v2_defaults", "BlockLSTMV2"),
    BlockCase("v2_peepholes", "BlockLSTMV2", {"use_peephole": True, "cell_clip": 0.7}, steps=5),
]
