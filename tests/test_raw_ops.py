"""raw_ops: the seven results against the reference, defaults, and TensorFlow's error texts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import reference
import tolerances
from lstmcore import raw_ops
from lstmcore.errors import InvalidArgumentError

FIELDS = ("i", "cs", "f", "o", "ci", "co", "h")
LIMIT = tolerances.AGAINST_REFERENCE["float32"]["gates"]


def arguments(steps=None, rows=2, inputs=3, units=5, seed=3):
    """Keyword arguments of the operations; x [T, N, I] with ``steps``, else [N, I]."""
    rng = np.random.default_rng([seed, rows, inputs, units])

    def draw(*shape, scale=1.0):
        return (scale * rng.standard_normal(shape)).astype(np.float32)

    leading = (rows,) if steps is None else (steps, rows)
    return {
        "x": draw(*leading, inputs),
        "cs_prev": draw(rows, units, scale=2.5),
        "h_prev": draw(rows, units),
        "w": draw(inputs + units, 4 * units, scale=0.4),
        "wci": draw(units),
        "wcf": draw(units),
        "wco": draw(units),
        "b": draw(4 * units),
    }


def sequence_arguments(seq_len_max=4, steps=4, **sizes):
    return {"seq_len_max": seq_len_max, **arguments(steps, **sizes)}


def exact_cell(a, *, forget_bias=1.0, cell_clip=3.0, peephole=False):
    diags = {}
    if peephole:
        diags = {"w_i_diag": a["wci"], "w_f_diag": a["wcf"], "w_o_diag": a["wco"]}
    return reference.Cell(
        kernel=a["w"], bias=a["b"], forget_bias=forget_bias, cell_clip=cell_clip, **diags
    )


def check(outputs, exact):
    assert outputs._fields == FIELDS
    for field in FIELDS:
        actual = getattr(outputs, field)
        assert actual.dtype == np.float32
        assert tolerances.error(actual, getattr(exact, field)) <= LIMIT, field


@settings(deadline=None, max_examples=40)
@given(
    rows=st.integers(1, 5),
    inputs=st.sampled_from([0, 1, 3, 8]),
    units=st.sampled_from([1, 5, 8, 17]),
    peephole=st.booleans(),
    cell_clip=st.sampled_from([3.0, 0.7, 0.0, -1.0]),
    forget_bias=st.sampled_from([1.0, -0.4]),
)
def test_one_step(rows, inputs, units, peephole, cell_clip, forget_bias):
    a = arguments(rows=rows, inputs=inputs, units=units)
    options = {"forget_bias": forget_bias, "cell_clip": cell_clip, "use_peephole": peephole}
    outputs = raw_ops.LSTMBlockCell(**a, **options)
    clip = cell_clip if cell_clip > 0 else None
    cell = exact_cell(a, forget_bias=forget_bias, cell_clip=clip, peephole=peephole)
    check(
        outputs,
        reference.block_step(
            reference.rounded(cell, np.float32), a["x"], a["cs_prev"], a["h_prev"]
        ),
    )


@settings(deadline=None, max_examples=40)
@given(
    steps=st.integers(0, 6),
    rows=st.integers(0, 4),
    units=st.sampled_from([0, 1, 5, 9, 16]),
    peephole=st.booleans(),
    fraction=st.floats(0, 1),
)
def test_sequence_and_its_end(steps, rows, units, peephole, fraction):
    live = round(steps * fraction)
    a = sequence_arguments(live, steps, rows=rows, units=units)
    outputs = raw_ops.BlockLSTM(**a, use_peephole=peephole)
    check(
        outputs,
        reference.block_sequence(
            exact_cell(a, peephole=peephole), a["x"], a["cs_prev"], a["h_prev"], live
        ),
    )
    for output in outputs:
        assert not output[live:].any()


@pytest.mark.parametrize("peephole", [False, True])
def test_v2_has_another_gate_order_no_forget_bias_and_no_clip(peephole):
    a = sequence_arguments(3)
    outputs = raw_ops.BlockLSTMV2(**a, use_peephole=peephole)
    reordered = {**a, "w": reference.ifco_to_icfo(a["w"]), "b": reference.ifco_to_icfo(a["b"])}
    cell = exact_cell(reordered, forget_bias=0.0, cell_clip=None, peephole=peephole)
    check(outputs, reference.block_sequence(cell, a["x"], a["cs_prev"], a["h_prev"], 3))


def test_default_clip_is_three():
    a = arguments()
    a["cs_prev"] = np.full((2, 5), 40, np.float32)
    a["b"][:] = 6
    assert raw_ops.LSTMBlockCell(**a).cs.max() == 3
    assert raw_ops.LSTMBlockCell(**a, cell_clip=None).cs.max() == 3
    assert raw_ops.LSTMBlockCell(**a, cell_clip=0).cs.max() > 30


def test_peepholes_count_only_when_asked_for():
    a = arguments()
    zeroed = {**a, "wci": 0 * a["wci"], "wcf": 0 * a["wcf"], "wco": 0 * a["wco"]}
    plain = raw_ops.LSTMBlockCell(**a)
    np.testing.assert_array_equal(plain.h, raw_ops.LSTMBlockCell(**zeroed).h)
    with_peepholes = raw_ops.LSTMBlockCell(**a, use_peephole=True)
    for field in ("i", "f", "o"):
        assert np.abs(getattr(with_peepholes, field) - getattr(plain, field)).max() > 1e-3


def test_nan_in_the_cell_state_survives_the_clip():
    a = arguments()
    a["cs_prev"][1, 2] = np.nan
    outputs = raw_ops.LSTMBlockCell(**a)
    expected = np.zeros((2, 5), np.bool_)
    expected[1, 2] = True
    np.testing.assert_array_equal(np.isnan(outputs.cs), expected)


def test_other_arrays_take_the_dtype_of_x_and_any_strides():
    a = sequence_arguments()
    expected = raw_ops.BlockLSTM(**a)
    other = {**a, "w": np.asfortranarray(a["w"].astype(np.float64)), "b": a["b"][::-1][::-1]}
    other["x"] = np.ascontiguousarray(a["x"].transpose(1, 0, 2)).transpose(1, 0, 2)
    other["cs_prev"].flags.writeable = False
    for actual, wanted in zip(raw_ops.BlockLSTM(**other), expected, strict=True):
        np.testing.assert_array_equal(actual, wanted)


def test_python_lists_are_float32():
    a = arguments()
    lists = {key: value.tolist() for key, value in a.items()}
    np.testing.assert_array_equal(raw_ops.LSTMBlockCell(**lists).h, raw_ops.LSTMBlockCell(**a).h)


F32 = np.float32
STEP_ERRORS = [
    ({"cs_prev": np.ones((3, 5), F32)}, "cs_prev.dims(0) != batch_size: 3 vs. 2"),
    ({"h_prev": np.ones((3, 5), F32)}, "h_prev.dims(0) != batch_size: 3 vs. 2"),
    ({"h_prev": np.ones((2, 6), F32)}, "h_prev.dims(1) != cell_size: 6 vs. 5"),
    ({"w": np.ones((9, 20), F32)}, "w.dim_size(0) != input_size + cell_size: 9 vs. 8"),
    ({"w": np.ones((8, 19), F32)}, "w.dim_size(1) != cell_size * 4: 19 vs. 20"),
    ({"b": np.ones(19, F32)}, "b.dim_size(0) != cell_size * 4: 19 vs. 20"),
]
RANK_ERRORS = [
    ({"x": np.ones((2, 3, 1), F32)}, "x_tensor must be rank 2 but is rank 3."),
    ({"x": np.ones(3, F32)}, "x_tensor must be rank 2 but is rank 1."),
    ({"cs_prev": np.ones(5, F32)}, "cs_prev_tensor must be rank 2 but is rank 1."),
    ({"wci": np.ones((5, 1), F32)}, "wci_tensor must be rank 1 but is rank 2."),
    ({"b": np.ones((20, 1), F32)}, "b_tensor must be rank 1 but is rank 2."),
]


@pytest.mark.parametrize(("changed", "text"), STEP_ERRORS + RANK_ERRORS)
def test_single_step_refuses(changed, text):
    with pytest.raises(InvalidArgumentError) as error:
        raw_ops.LSTMBlockCell(**{**arguments(), **changed})
    assert str(error.value) == text


@pytest.mark.parametrize(("changed", "text"), STEP_ERRORS)
def test_sequence_refuses_sizes(changed, text):
    with pytest.raises(InvalidArgumentError) as error:
        raw_ops.BlockLSTM(**{**sequence_arguments(), **changed})
    assert str(error.value) == text


@pytest.mark.parametrize(
    ("argument", "shape", "rank"),
    [("x", (2, 3), 3), ("w", (8,), 2), ("cs_prev", (5,), 2), ("wci", (5, 1), 1), ("b", (1, 1), 1)],
)
def test_sequence_refuses_ranks(argument, shape, rank):
    changed = {**sequence_arguments(), argument: np.ones(shape, F32)}
    with pytest.raises(InvalidArgumentError, match=f"^{argument} must be {rank}D"):
        raw_ops.BlockLSTM(**changed)


@pytest.mark.parametrize("argument", ["wci", "wcf", "wco"])
def test_peephole_lengths(argument):
    text = f"{argument}.dim_size(0) != cell_size: 6 vs. 5"
    with pytest.raises(InvalidArgumentError) as error:
        raw_ops.BlockLSTM(**{**sequence_arguments(), argument: np.ones(6, F32)})
    assert str(error.value) == text
    changed = {**arguments(), argument: np.ones(6, F32)}
    with pytest.raises(InvalidArgumentError) as error:
        raw_ops.LSTMBlockCell(**changed, use_peephole=True)
    assert str(error.value) == text
    raw_ops.LSTMBlockCell(**changed)  # TensorFlow too looks at them only when they count


def test_single_step_refuses_nothing_to_do():
    for sizes, shape in (({"rows": 0}, "(0,5)"), ({"units": 0}, "(2,0)")):
        with pytest.raises(InvalidArgumentError) as error:
            raw_ops.LSTMBlockCell(**arguments(**sizes))
        assert str(error.value) == f"cs_prev_tensor is empty, has shape: {shape}."


@pytest.mark.parametrize(
    ("seq_len_max", "error", "text"),
    [
        (5, InvalidArgumentError, "seq_len_max must be between 0 and 4 but is 5"),
        (-1, InvalidArgumentError, "seq_len_max must be between 0 and 4 but is -1"),
        ([3], InvalidArgumentError, "`seq_len_max_tensor` must be rank 0 but is rank 1"),
        (3.0, TypeError, "seq_len_max must be an integer, received 3.0"),
    ],
)
def test_seq_len_max(seq_len_max, error, text):
    for operation in (raw_ops.BlockLSTM, raw_ops.BlockLSTMV2):
        with pytest.raises(error) as raised:
            operation(**sequence_arguments(seq_len_max))
        assert str(raised.value) == text


@pytest.mark.parametrize(
    ("dtype", "name"), [(np.float64, "double"), (np.int32, "int32"), (np.bool_, "bool")]
)
def test_dtypes_tensorflow_refuses(dtype, name):
    a = arguments()
    text = f"Value for attr 'T' of {name} is not in the list of allowed values: half, float"
    with pytest.raises(InvalidArgumentError, match=text):
        raw_ops.LSTMBlockCell(**{**a, "x": a["x"].astype(dtype)})


def test_half_has_no_kernel():
    a = arguments()
    with pytest.raises(TypeError, match=r"x has dtype float16.*use float32"):
        raw_ops.LSTMBlockCell(**{**a, "x": a["x"].astype(np.float16)})


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ({"forget_bias": "a"}, "Expected float for argument 'forget_bias' not 'a'."),
        ({"cell_clip": [1]}, "Expected float for argument 'cell_clip' not [1]."),
        ({"use_peephole": 1}, "Expected bool for argument 'use_peephole' not 1."),
    ],
)
def test_options(option, text):
    with pytest.raises(TypeError) as error:
        raw_ops.LSTMBlockCell(**arguments(), **option)
    assert str(error.value) == text


def test_keywords_only_and_none():
    with pytest.raises(TypeError, match="positional"):
        raw_ops.LSTMBlockCell(np.ones((2, 3), F32))
    with pytest.raises(TypeError, match="forget_bias"):
        raw_ops.BlockLSTMV2(**sequence_arguments(), forget_bias=1.0)
    with pytest.raises(ValueError, match="Attempt to convert a value"):
        raw_ops.LSTMBlockCell(**{**arguments(), "w": None})
