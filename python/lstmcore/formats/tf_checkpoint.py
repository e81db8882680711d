"""TensorFlow V2 checkpoints and the variables of SavedModels."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from lstmcore.arrays import Array
from lstmcore.checkpoint.names import weight_paths
from lstmcore.checkpoint.object_graph import OBJECT_GRAPH_KEY
from lstmcore.checkpoint.reader import CheckpointReader
from lstmcore.formats import tf_names
from lstmcore.formats.source import Source, TensorInfo


@dataclass
class CheckpointSource(Source):
    """Opens the checkpoint at ``path``; raises CheckpointError, which is a LoadError."""

    reader: CheckpointReader = field(init=False)

    def __post_init__(self) -> None:
        self.reader = CheckpointReader(self.path)
        shapes = self.reader.get_variable_to_shape_map()
        dtypes = self.reader.get_variable_to_dtype_map()
        self.tensors = {
            name: TensorInfo(tuple(shapes[name]), dtypes[name].name)
            for name in shapes
            if name != OBJECT_GRAPH_KEY
        }
        paths = weight_paths(self.reader, moving_average=False)
        self.foreign = set(self.tensors) - set(paths.values())
        own = self.reader.full_names()
        named = {own.get(name, path): name for path, name in paths.items()}
        self.models = tf_names.find_models(named, self.tensors)

    def read(self, name: str) -> Array:
        value = np.asarray(self.reader.get_tensor(name))
        return value.astype(np.float32) if value.dtype == np.float16 else value
