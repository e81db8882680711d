"""The base of every layer: its names and scope, building on first use, weights and config.

TF API: ``tf.compat.v1.layers.Layer``. A layer has two names: ``name``, from a counter per class,
and the scope its variables live in, which is fixed at the first call.
"""

from __future__ import annotations

import inspect
import re
import warnings
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from lstmcore import dtypes, shared_state
from lstmcore.arrays import as_array
from lstmcore.layers.input_spec import InputSpec, checked_input, flatten
from lstmcore.layers.layer_weights import LayerWeights
from lstmcore.layers.scoped_build import ScopedBuild
from lstmcore.unwinding import all_or_nothing, unwound
from lstmcore.variables import initializers
from lstmcore.variables.graph import Graph, get_default_graph
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

    def _set_names(self, name: Any) -> None:
        base = _snake_case(type(self).__name__)
        if isinstance(name, VariableScope):
            self._base_name = name.name
            self._name = get_default_graph().unique_layer_name(base)
        elif not isinstance(name, (str, type(None))):
            raise TypeError(
                f"name must be a string, received {name!r} of type {type(name).__name__}"
            )
        else:
            self._base_name = name or base
            self._name = name or get_default_graph().unique_layer_name(base)

    def _set_runtime_state(self) -> None:
        """What is not pickled."""
        self._graph: weakref.ref[Graph] | None = None
        self._open_mark: tuple[object, int] | None = None
        self._call_takes_scope = "scope" in inspect.signature(self.call).parameters

    # Names and scope

    @property
    def name(self) -> str:  # type: ignore[override]  # read-only here, an attribute in the base
        return str(self._name)

    @property
    def dtype(self) -> str | None:
        """The name of the dtype; None until it is given or taken from the first input."""
        return None if self._dtype is None else self._dtype.name

    @property
    def scope_name(self) -> str:
        """The scope of the variables. Raises ValueError before the first call, which fixes it."""
        if self._scope is None:
            raise ValueError(
                f'No name available for layer scope because the layer "{self._name}" has not been '
                "used yet. The scope name  is determined the first time the layer instance is "
                "called. You must therefore call the layer before querying `scope_name`."
            )
        return self._scope.name

    @property
    def graph(self) -> None:
        """None, with TensorFlow's warning: layers do not record where they were made."""
        warnings.warn(
            "`Layer.graph` is deprecated and will be removed in a future version. Please stop "
            "using this property because tf.layers layers no longer track their graph.",
            stacklevel=2,
        )

    def _set_scope(self, scope: str | VariableScope | None = None) -> VariableScope:
        if self._scope is None:
            if self._reuse:
                context = variable_scope(self._base_name if scope is None else scope)
            else:
                context = variable_scope(scope, default_name=self._base_name)
            with context as entered:
                self._scope = entered
            self._graph = weakref.ref(get_default_graph())
        return self._scope

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

        Part of ``_all_or_nothing``: weights that do not fit are refused again by every call.
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
        """``function(...)``, which uses the layer first: see ``unwinding.all_or_nothing``.

        Threads that share the layer build it once.
        """

        def first_use() -> Result:
            graph.scopes.note(self._undo_of_first_use())
            return function(*args, **kwargs)

        graph = get_default_graph()
        with shared_state.lock:
            return all_or_nothing(graph, first_use)

    def _undo_of_first_use(self) -> Callable[[], None]:
        state = {name: vars(self)[name] for name in self._set_by_first_use}
        trainable, others = list(self._trainable_weights), list(self._non_trainable_weights)

        def undo() -> None:
            vars(self).update(state)
            self._trainable_weights, self._non_trainable_weights = trainable, others
            self._weights_changed()

        return undo

    def _note_open(self) -> None:
        """Counts the layer's scope as opened, for a call that needs no scope itself.

        Later default names in the same enclosing scope depend on it. In another graph than that of
        its variables a layer takes no name.
        """
        graph = get_default_graph()
        if self._graph is None or self._scope is None or self._is_noted():
            return
        names = graph.scopes.names
        if self._graph() is graph:
            names.open(self._scope.name)
        self._open_mark = (names, names.generation)

    def _is_noted(self) -> bool:
        """Whether the next call, where it is made, needs to count no scope as opened."""
        names, mark = get_default_graph().scopes.names, self._open_mark
        return mark is not None and mark[0] is names and mark[1] == names.generation

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


def _snake_case(name: str) -> str:
    """``BasicLSTMCell`` -> ``basic_lstm_cell``, as Keras names layers."""
    words = re.sub(r"(.)([A-Z][a-z0-9]+)", r"\1_\2", name)
    snake = re.sub(r"([a-z])([A-Z])", r"\1_\2", words).lower()
    return f"private{snake}" if snake.startswith("_") else snake


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
