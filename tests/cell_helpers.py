"""Cells with random weights, and the reference cell of the same weights and options."""

from __future__ import annotations

import numpy as np

import reference


def random_weights(cell, rng):
    """Fills the built cell with weights that are neither zero nor equal."""
    cell.set_weights([rng.uniform(-0.6, 0.6, variable.shape) for variable in cell.weights])


def reference_cell(cell):
    by_name = {v.op.name.removeprefix(f"{cell.scope_name}/"): v.numpy() for v in cell.weights}
    config = cell.get_config()
    return reference.Cell(
        kernel=by_name["kernel"],
        bias=by_name["bias"],
        w_i_diag=by_name.get("w_i_diag"),
        w_f_diag=by_name.get("w_f_diag"),
        w_o_diag=by_name.get("w_o_diag"),
        proj_kernel=by_name.get("projection/kernel"),
        forget_bias=config["forget_bias"],
        cell_clip=config.get("cell_clip"),
        proj_clip=config.get("proj_clip"),
        activation=config["activation"],
    )


def make(cell, batch=3, depth=5, dtype=np.float32, seed=0):
    """The cell built with random weights, and random arguments for it."""
    rng = np.random.default_rng(seed)
    cell.build(depth) if cell.dtype else cell(
        np.zeros((1, depth), dtype), cell.zero_state(1, dtype)
    )
    random_weights(cell, rng)
    widths = (depth, cell._num_units, cell.output_size)
    x, c, h = (rng.normal(size=(batch, width)).astype(dtype) for width in widths)
    return x, c, h
