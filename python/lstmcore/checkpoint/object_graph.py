"""The names that variables had, from the object graph of a ``tf.train.Checkpoint`` or SavedModel.

There a tensor's key is a path of attributes, in a Keras SavedModel no more than ``variables/3``;
the graph (TensorFlow's ``trackable_object_graph.proto``) keeps the variable's own name beside it.
"""

from __future__ import annotations

from lstmcore.checkpoint.wire import parse_message
from lstmcore.errors import DataLossError

OBJECT_GRAPH_KEY = "_CHECKPOINTABLE_OBJECT_GRAPH"


def full_names(graph: bytes, what: str) -> dict[str, str]:
    """Each variable's name by its key. Raises DataLossError for what is no such graph."""
    names = {}
    for node in parse_message(graph, what, blobs=(1,)).blobs.get(1, []):
        for attribute in parse_message(node, what, blobs=(2,)).blobs.get(2, []):
            fields = parse_message(attribute, what, blobs=(1, 2, 3)).blobs
            try:
                full_name, key = (fields.get(tag, [b""])[-1].decode() for tag in (2, 3))
            except UnicodeDecodeError:
                raise DataLossError(f"{what}: a name is not UTF-8") from None
            if full_name and key:
                names[key] = full_name
    return names
