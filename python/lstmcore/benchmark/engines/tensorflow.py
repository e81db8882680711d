"""TensorFlow 2.15 or older: BasicLSTMCell in a session, and the block operations in a function."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from lstmcore.benchmark.cases import Array, Case, Direction, Inputs, Variant

v1 = tf.compat.v1


def version() -> str:
    return str(tf.__version__)


def variants(case: Case, inputs: Inputs, threads: int) -> dict[str, Variant]:
    if tf.config.threading.get_intra_op_parallelism_threads() != threads:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    found = {"BasicLSTMCell, session": _session(case, inputs, threads)}
    if case.is_step:
        found["LSTMBlockCell"] = _block_steps(case, inputs)
    elif case.layers == 1 and not case.bidirectional and not case.ragged:
        found["BlockLSTMV2"] = _block(case, inputs)
    return found


def _cell(weights: Direction) -> Any:
    cell = v1.nn.rnn_cell.BasicLSTMCell(weights.R.shape[0], forget_bias=0.0)
    cell.build([None, weights.W.shape[0]])
    return cell


def _session(case: Case, inputs: Inputs, threads: int) -> Variant:
    graph = tf.Graph()
    config = v1.ConfigProto(intra_op_parallelism_threads=threads, inter_op_parallelism_threads=1)
    with graph.as_default():
        x: Any = v1.placeholder(tf.float32, inputs.x[0].shape if case.is_step else inputs.x.shape)
        session = v1.Session(graph=graph, config=config)
        assign: list[tuple[Any, Array]] = []

        def make(weights: Direction, name: str) -> Any:
            with v1.variable_scope(name):
                cell = _cell(weights)
            kernel, bias = cell.weights
            assign.extend([(kernel, np.concatenate([weights.W, weights.R])), (bias, weights.b)])
            return cell

        cells = [
            [make(w, f"layer_{k}_{d}") for d, w in enumerate(directions)]
            for k, directions in enumerate(inputs.layers)
        ]
        if case.is_step:
            shape = [case.batch, case.num_units]
            state = [v1.placeholder(tf.float32, shape) for _ in range(2)]
            _, (c, h) = cells[0][0](x, v1.nn.rnn_cell.LSTMStateTuple(*state))
            call = session.make_callable([c, h], [x, *state])
        else:
            y = x
            for directions in cells:
                common = {
                    "dtype": tf.float32,
                    "time_major": True,
                    "sequence_length": inputs.lengths,
                }
                if len(directions) == 2:
                    both, _ = v1.nn.bidirectional_dynamic_rnn(*directions, y, **common)
                    y = tf.concat(both, axis=2)
                else:
                    y, _ = v1.nn.dynamic_rnn(directions[0], y, **common)
            call = session.make_callable(y, [x])
        session.run(v1.global_variables_initializer())
        for variable, value in assign:
            variable.load(value, session)
    return _session_steps(case, inputs, call) if case.is_step else _session_run(inputs, call)


def _session_steps(case: Case, inputs: Inputs, call: Any) -> Variant:
    c, h = np.zeros((2, case.batch, case.num_units), np.float32)
    x = inputs.x[0]

    def run(n: int) -> None:
        nonlocal c, h
        for _ in range(n):
            c, h = call(x, c, h)

    return Variant(run, lambda: h)


def _session_run(inputs: Inputs, call: Any) -> Variant:
    y: Any = None

    def run(n: int) -> None:
        nonlocal y
        for _ in range(n):
            y = call(inputs.x)

    return Variant(run, lambda: y)


def _block_weights(weights: Direction, order: str) -> tuple[Any, Any]:
    """The kernel and bias with gates in another order than i, j, f, o."""

    def reordered(matrix: Array) -> Any:
        gates = dict(zip("ijfo", np.split(matrix, 4, axis=-1), strict=True))
        return tf.constant(np.concatenate([gates[g] for g in order], axis=-1))

    return reordered(np.concatenate([weights.W, weights.R])), reordered(weights.b)


def _block_steps(case: Case, inputs: Inputs) -> Variant:
    w, b = _block_weights(inputs.layers[0][0], "ijfo")
    peephole = tf.zeros([case.num_units])

    @tf.function(jit_compile=False)
    def step(x: Any, c: Any, h: Any) -> Any:
        result = tf.raw_ops.LSTMBlockCell(
            x=x, cs_prev=c, h_prev=h, w=w, wci=peephole, wcf=peephole, wco=peephole, b=b,
            forget_bias=0.0, cell_clip=-1.0, use_peephole=False,
        )  # fmt: skip
        return result.cs, result.h

    x = tf.constant(inputs.x[0])
    c = h = tf.zeros([case.batch, case.num_units])
    concrete = step.get_concrete_function(x, c, h)

    def run(n: int) -> None:
        nonlocal c, h
        for _ in range(n):
            c, h = concrete(x, c, h)

    return Variant(run, lambda: h.numpy())


def _block(case: Case, inputs: Inputs) -> Variant:
    w, b = _block_weights(inputs.layers[0][0], "ifjo")
    peephole = tf.zeros([case.num_units])
    zeros = tf.zeros([case.batch, case.num_units])

    @tf.function(jit_compile=False)
    def sequence(x: Any) -> Any:
        return tf.raw_ops.BlockLSTMV2(
            seq_len_max=tf.constant(case.steps, tf.int64), x=x, cs_prev=zeros, h_prev=zeros, w=w,
            wci=peephole, wcf=peephole, wco=peephole, b=b, cell_clip=-1.0, use_peephole=False,
        ).h  # fmt: skip

    x = tf.constant(inputs.x)
    concrete = sequence.get_concrete_function(x)
    y: Any = None

    def run(n: int) -> None:
        nonlocal y
        for _ in range(n):
            y = concrete(x)

    return Variant(run, lambda: y.numpy())
