"""Arithmetic on variables: NumPy's operators and functions on their values."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from lstmcore.arrays import Array


class ValueOperators(NDArrayOperatorsMixin):
    """``v * 2``, ``1 - v``, ``v @ w``, ``np.tanh(v)``: arrays result.

    ``==`` and ``!=`` compare identity, as in TensorFlow 1: variables are keys of dicts and members
    of sets. ``v += 1`` raises TypeError, as it would leave the variable as it was.
    """

    def numpy(self) -> Array:
        raise NotImplementedError

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        for target in kwargs.get("out", ()):
            if isinstance(target, ValueOperators):
                raise TypeError(f"{target!r} cannot be changed in place: use its assign()")
        values = [x.numpy() if isinstance(x, ValueOperators) else x for x in inputs]
        return getattr(ufunc, method)(*values, **kwargs)

    def __eq__(self, other: object) -> Any:
        return object.__eq__(self, other)

    def __ne__(self, other: object) -> Any:
        return object.__ne__(self, other)

    def __hash__(self) -> int:
        return object.__hash__(self)

    @property
    def ndim(self) -> int:
        return self.numpy().ndim

    def eval(self, session: Any = None) -> Array:
        """The value, read-only. ``session`` has no meaning here."""
        return self.numpy()
