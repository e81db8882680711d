"""A layer's list of variables, and the properties of training, which has no part here."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np

from lstmcore import shared_state
from lstmcore.arrays import Array
from lstmcore.layers.layer_scope import LayerScope
from lstmcore.variables.variable import PartitionedVariable, Variable


class LayerWeights(LayerScope):
    """What a layer's weights are and how they are read and set; the base of ``Layer``."""

    built: bool
    trainable: bool

    def __init__(self) -> None:
        self._trainable_weights: list[Variable] = []
        self._non_trainable_weights: list[Variable] = []

    def _track(self, variable: Any) -> None:
        """Lists a variable among the weights, once.

        The parts of a partitioned one come last, with the non-trainable weights, as in TensorFlow.
        """
        if isinstance(variable, PartitionedVariable):
            parts, trainable = variable.parts, False
        elif isinstance(variable, Variable):
            parts, trainable = (variable,), variable.trainable
        else:  # a custom getter may put anything in a variable's place, a constant for instance
            return
        weights = self._trainable_weights if trainable else self._non_trainable_weights
        for part in parts:
            if all(part is not known for known in weights):
                weights.append(part)
                part.watch(self)

    def _weights_changed(self) -> None:
        """A variable was assigned; layers that keep something made from weights drop it."""

    @property
    def trainable_weights(self) -> list[Variable]:
        return list(self._trainable_weights) if self.trainable else []

    @property
    def non_trainable_weights(self) -> list[Variable]:
        if self.trainable:
            return list(self._non_trainable_weights)
        return self._trainable_weights + self._non_trainable_weights

    @property
    def weights(self) -> list[Variable]:
        return self.trainable_weights + self.non_trainable_weights

    @property
    def variables(self) -> list[Variable]:
        return self.weights

    @property
    def trainable_variables(self) -> list[Variable]:
        return self.trainable_weights

    @property
    def non_trainable_variables(self) -> list[Variable]:
        return self.non_trainable_weights

    def get_weights(self) -> list[Array]:
        """Copies of the values, in the order of ``weights``."""
        return [np.array(variable.numpy()) for variable in self.weights]

    def set_weights(self, weights: Iterable[Any]) -> None:
        """Assigns all variables, or none of them when a count or shape is wrong (ValueError)."""
        values, variables = list(weights), self.weights
        if len(values) != len(variables):
            hint = (
                "" if self.built else " Not built yet: call the layer, or its build(depth), first."
            )
            raise ValueError(
                f'You called `set_weights(weights)` on layer "{self.name}" with a weight list of '
                f"length {len(values)}, but the layer was expecting {len(variables)} weights. "
                f"Provided weights: {str(values)[:50]}...{hint}"
            )
        arrays = []
        for variable, value in zip(variables, values, strict=True):
            shape = _shape(value)
            if shape is not None and shape != variable.shape:
                raise ValueError(
                    f"Layer {self.name} weight shape {variable.shape} is not compatible with "
                    f"provided weight shape {shape}."
                )
            arrays.append(variable.check_assignable(value))
        with shared_state.lock:
            for variable, array in zip(variables, arrays, strict=True):
                variable.assign(array)

    def count_params(self) -> int:
        """The number of elements in all weights. Raises ValueError before the layer is built."""
        if not self.built:
            raise ValueError(
                f"You tried to call `count_params` on {self.name}, but the layer isn't built. You "
                f"can build it manually via: `{self.name}.build(batch_input_shape)`."
            )
        return sum(variable.numpy().size for variable in self.weights)

    @property
    def losses(self) -> list[Any]:
        return []

    @property
    def updates(self) -> list[Any]:
        warnings.warn(
            "`layer.updates` will be removed in a future version. This property should not be used "
            "in TensorFlow 2.0, as `updates` are applied automatically.",
            stacklevel=2,
        )
        return []

    def get_losses_for(self, inputs: Any) -> list[Any]:
        warnings.warn(
            "`layer.get_losses_for` is deprecated and will be removed in a future version. Please "
            "use `layer.losses` instead.",
            stacklevel=2,
        )
        return []

    def get_updates_for(self, inputs: Any) -> list[Any]:
        warnings.warn(
            "`layer.get_updates_for` is deprecated and will be removed in a future version. Please "
            "use `layer.updates` method instead.",
            stacklevel=2,
        )
        return []


def _shape(value: Any) -> tuple[int, ...] | None:
    """The shape; None for ragged lists, which have none."""
    try:
        return tuple(np.shape(value))
    except ValueError:
        return None
