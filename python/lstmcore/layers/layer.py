"""The base of every layer: its names and scope, building on first use, weights and config.

TF API: ``tf.compat.v1.layers.Layer``. A layer has two names: ``name``, from a counter per class,
and the scope its variables live in, which is fixed at the first call.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from lstmcore import dtypes
from lstmcore.arrays import as_array
from lstmcore.layers.input_spec import InputSpec, checked_input, flatten
from lstmcore.layers.layer_weights import LayerWeights
from lstmcore.layers.scoped_build import ScopedBuild
from lstmcore.unwinding import all_or_nothing, unwound
from lstmcore.variables import initializers
from lstmcore.variables.graph import get_default_graph
from lstmcore.variables.scope_settings import check_reuse
from lstmcore.variables.variable_scope import VariableScope, get_variable, variable_scope

Self = TypeVar("Self", bound="Layer")
Result = TypeVar("Result")

# Arguments of TensorFlow's base layer that say nothing about inference: accepted, not used.
_IGNORED_KWARGS = frozenset(
    {
        "input_dim",
        "input_shape",
        "batch_input_shape",
        "batch_size",
        "activity_regularizer",
        "autocast",
        "implementation",
        "dynamic",
    }
)
_PICKLE_VERSION = 1


class Layer(LayerWeights):
    """A named object with variables, built at its first call.

    Args:
        trainable: whether its variables count as trainable; has no influence on results.
        name: the layer's name and its scope's default name. None makes one from the class name.
        dtype: float32 or float64; None takes that of the first input.
        weights: initial values, as for ``set_weights``, set when the layer is built.

    Raises TypeError for an unknown keyword, ``('Keyword argument not understood:', name)``, a
    ``name`` that is no string, and ``weights`` that are no list.
    """

    #: Attributes that a first use sets, which are as before where it fails.
    _set_by_first_use: tuple[str, ...] = (
        "built",
        "_dtype",
        "_scope",
        "_graph",
        "_open_mark",
        "_initial_weights",
    )
    #: Attributes that a pickled or copied layer starts without, or gets otherwise.
    _not_pickled = frozenset({"_graph", "_open_mark", "_scope", "_call_takes_scope"})

    def __init__(
        self,
        trainable: bool = True,
        name: Any = None,
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        self._reuse = kwargs.pop("_reuse", None)
        scope = kwargs.pop("_scope", None)
        self._initial_weights = _listed(kwargs.pop("weights", None))
        for key in kwargs:
            if key not in _IGNORED_KWARGS:
                raise TypeError("Keyword argument not understood:", key)
        if not isinstance(trainable, bool):
            raise TypeError(f"Expected `trainable` argument to be a boolean, but got: {trainable}")
        check_reuse(self._reuse)
        self._dtype = None if dtype is None else dtypes.as_dtype(dtype)
        self.trainable = trainable
        self.built = False
        self.input_spec: InputSpec | None = None
        self._set_names(name)
        self._scope: VariableScope | None = None
        self._set_runtime_state()
        if scope:
            with variable_scope(scope) as self._scope:
                pass

    def _set_runtime_state(self) -> None:
        """What is not pickled."""
        self._graph = self._open_mark = None
        self._call_takes_scope = "scope" in inspect.signature(self.call).parameters

    @property
    def dtype(self) -> str | None:
        """The name of the dtype; None until it is given or taken from the first input."""
        return None if self._dtype is None else self._dtype.name

    # Building and calling

    def build(self, input_shape: Any) -> None:
        """Creates the variables for inputs of this shape; layers with variables override it."""
        self.built = True

    def call(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """The computation, defined by subclasses."""
        raise NotImplementedError(f"{type(self).__name__} defines no call()")

    @unwound
    def __call__(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        if self._is_ready():
            return self._call_in_scope(inputs, *args, **kwargs)
        return self._all_or_nothing(self._call_in_scope, inputs, *args, **kwargs)

    def _call_in_scope(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        with self._scoped_build(inputs, kwargs.pop("scope", None)) as entered:
            if self._call_takes_scope:
                kwargs["scope"] = entered
            return self.call(inputs, *args, **kwargs)

    def apply(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """The same as calling the layer."""
        return self(inputs, *args, **kwargs)

    def _scoped_build(self, inputs: Any, scope: str | VariableScope | None = None) -> ScopedBuild:
        """Context in which a layer computes: inputs checked, scope entered, variables built.

        Fixes the scope at the first use; ``scope`` is taken verbatim then, and ignored later.
        """
        if self.input_spec is not None:
            inputs = checked_input(self.input_spec, inputs, self.name)
        return ScopedBuild(self, inputs, scope)

    def _build_once(self, inputs: Any) -> None:
        """Builds for ``inputs``, and sets the weights that the constructor was given.

        Part of ``_all_or_nothing``, with the lock of ``shared_state`` held, so that threads that
        share the layer build it once: weights that do not fit are refused again by every call.
        """
        if not self.built:
            self._build_variables(inputs)
        if self._initial_weights is not None:
            self.set_weights(self._initial_weights)
            self._initial_weights = None

    def _is_ready(self) -> bool:
        """Whether the layer can compute: ``build`` may have been called, but not by a call."""
        return self.built and self._initial_weights is None

    def _build_variables(self, inputs: Any) -> None:
        if self._dtype is None:
            self._dtype = _first_dtype(inputs)
        self.build(_shapes(inputs))
        self.built = True

    def _all_or_nothing(self, function: Callable[..., Result], *args: Any, **kwargs: Any) -> Result:
        """``function(...)``, which uses the layer first: see ``unwinding.all_or_nothing``."""

        def first_use() -> Result:
            graph.scopes.note(self._undo_of_first_use())
            return function(*args, **kwargs)

        graph = get_default_graph()
        return all_or_nothing(graph, first_use)

    def _undo_of_first_use(self) -> Callable[[], None]:
        state = {name: vars(self)[name] for name in self._set_by_first_use}
        trainable, others = list(self._trainable_weights), list(self._non_trainable_weights)

        def undo() -> None:
            vars(self).update(state)
            self._trainable_weights, self._non_trainable_weights = trainable, others
            self._weights_changed()

        return undo

    # Weights

    def add_weight(
        self,
        name: str,
        shape: Sequence[int],
        dtype: Any = None,
        initializer: Any = None,
        regularizer: Any = None,
        trainable: bool | None = None,
        constraint: Any = None,
        use_resource: bool | None = None,
        synchronization: Any = None,
        aggregation: Any = None,
        partitioner: Any = None,
    ) -> Any:
        """Finds or creates a variable in the layer's scope and makes it one of its weights.

        ``dtype`` defaults to the layer's, else float32; ``initializer`` to the scope's, else
        glorot_uniform. Returns a ``Variable``, or a ``PartitionedVariable`` with a partitioner.
        Raises ValueError as ``get_variable``.
        """
        trainable = trainable is not False
        reuse = self.built or self._reuse
        with variable_scope(self._set_scope(), reuse=reuse):
            variable = get_variable(
                name,
                shape,
                dtype=dtype or self._dtype or dtypes.SUPPORTED[0],
                initializer=initializers.get(initializer),
                trainable=trainable and self.trainable,
                partitioner=partitioner,
            )
        self._track(variable)
        return variable

    add_variable = add_weight

    # Config, copies

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments; ``from_config`` makes an equal, unbuilt layer of them."""
        return {"name": self.name, "trainable": self.trainable, "dtype": self.dtype}

    @classmethod
    def from_config(cls: type[Self], config: dict[str, Any]) -> Self:
        return cls(**config)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} '{self.name}'>"

    def __getstate__(self) -> dict[str, Any]:
        """Attributes without locks, scopes and what can be computed again."""
        state = {key: value for key, value in vars(self).items() if key not in self._not_pickled}
        state["_scope"] = None if self._scope is None else self._scope.name
        state["_pickle_version"] = _PICKLE_VERSION
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        version = state.pop("_pickle_version", None)
        if version != _PICKLE_VERSION:
            raise ValueError(
                f"{type(self).__name__} was pickled in format {version}, this lstmcore reads "
                f"format {_PICKLE_VERSION}"
            )
        scope = state.pop("_scope")
        vars(self).update(state)
        self._scope = None if scope is None else VariableScope(False, scope)
        self._set_runtime_state()
        for variable in self.weights:
            variable.watch(self)


def _listed(weights: Any) -> list[Any] | None:
    """The constructor's ``weights`` as a list, which can be read again."""
    if weights is None:
        return None
    if isinstance(weights, (str, bytes, Mapping)) or not isinstance(weights, Iterable):
        raise TypeError(f"weights must be a list of arrays, received {type(weights).__name__}")
    return list(weights)


def _first_dtype(inputs: Any) -> dtypes.DType:
    leaf = next(flatten(inputs))
    return as_array(leaf, "inputs").dtype.newbyteorder("=")


def _shapes(inputs: Any) -> Any:
    """The shape of an array, or a structure of shapes for a structure of arrays."""
    if isinstance(inputs, Mapping):
        return {key: _shapes(value) for key, value in inputs.items()}
    if isinstance(inputs, (list, tuple)):
        return type(inputs)(_shapes(item) for item in inputs)
    return as_array(inputs, "inputs").shape
