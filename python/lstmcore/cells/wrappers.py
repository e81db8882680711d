"""Cells around cells (TF API: ``tf.compat.v1.nn.rnn_cell.*Wrapper``).

A wrapper adds nothing to the names of variables, and its own ``weights`` are empty: those of the
wrapped cell are at ``.cell``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lstmcore import _core, nest
from lstmcore.arrays import Array
from lstmcore.cells.cell_wrapper import CellWrapper
from lstmcore.cells.device_spec import check_device
from lstmcore.placement import Placement, stand_ins


class ResidualWrapper(CellWrapper):
    """Adds the inputs to the outputs (Wu et al. 2016, "Google's Neural Machine Translation").

    Args:
        cell: the cell; its output must have the shape of its inputs.
        residual_fn: computes the output from (inputs, outputs) instead of adding them.

    Raises, when called, ValueError for shapes that differ.
    """

    def __init__(self, cell: Any, residual_fn: Any = None, **kwargs: Any) -> None:
        if residual_fn is not None and not callable(residual_fn):
            raise TypeError(f"residual_fn must be callable. Received: {residual_fn}")
        super().__init__(cell, **kwargs)
        self._residual_fn = residual_fn

    def _check_step(self, inputs: Any) -> None:
        if self._residual_fn is not None or not isinstance(inputs, np.ndarray):
            return
        if inputs.ndim == 2 and isinstance(self.output_size, int):
            _check_compatible(inputs.shape, (inputs.shape[0], self.output_size))

    def _wrapped_output(self, inputs: Any, output: Any) -> Any:
        if self._residual_fn is not None:
            return self._residual_fn(inputs, output)
        nest.check_same_structure(inputs, output, ("inputs", "outputs"))
        return nest.map_structure(_sum, inputs, output)

    @property
    def _native_sequence(self) -> bool:
        # residual_fn expects the arrays of one step
        return self._residual_fn is None and super()._native_sequence

    def _run_sequence(
        self,
        inputs: Array,
        state: Any,
        lengths: Array | None,
        *,
        where: Placement | None,
        time_major: bool,
        reverse: bool = False,
    ) -> tuple[Any, Any]:
        shape = stand_ins(inputs, where).shape
        rows = shape[1 if time_major else 0]
        _check_compatible((rows, shape[2]), (rows, self.output_size))
        outputs, new_state = super()._run_sequence(
            inputs, state, lengths, where=where, time_major=time_major, reverse=reverse
        )
        if not isinstance(outputs, np.ndarray):
            from lstmcore.gpu import add

            return add(inputs, outputs, outputs, lengths, time_major=time_major), new_state
        outputs += inputs
        if lengths is not None:
            steps = np.arange(inputs.shape[0 if time_major else 1])
            if time_major:
                outputs[steps[:, None] >= lengths] = 0
            else:
                outputs[steps >= lengths[:, None]] = 0
        return outputs, new_state

    def get_config(self) -> dict[str, Any]:
        """Like every wrapper's; a ``residual_fn`` stands in it as the function object."""
        config = super().get_config()
        if self._residual_fn is not None:
            config["residual_fn"] = self._residual_fn
        return config


class DeviceWrapper(CellWrapper):
    """Names a device for a cell. The name is checked and has no effect: where a cell computes is
    said by its own argument ``device``.

    Raises ValueError for what is no device name.
    """

    def __init__(self, cell: Any, device: Any, **kwargs: Any) -> None:
        check_device(device)
        super().__init__(cell, **kwargs)
        self._device = device

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "device": self._device}


def _sum(inputs: Any, output: Any) -> Any:
    if isinstance(output, _core.DeviceArray):
        from lstmcore import gpu

        _check_compatible(gpu.shape_of(inputs), output.shape)
        return gpu.add(inputs, output)
    _check_compatible(np.shape(inputs), np.shape(output))
    return inputs + output


def _check_compatible(inputs: tuple[int, ...], outputs: tuple[int, ...]) -> None:
    if inputs != outputs:
        raise ValueError(
            f"Shapes {inputs} and {outputs} are incompatible: a ResidualWrapper adds inputs "
            "(first) and outputs of the cell (second)"
        )
