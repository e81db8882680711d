"""TensorFlow 1's names for what lstmcore has, so that source changes in its import line only.

``import tensorflow as tf`` becomes ``import lstmcore.tf as tf``. Everything computes at once on
NumPy arrays: what TensorFlow calls a tensor is an ndarray, and what ``sess.run`` would return is
what the call itself returns. Names that need sessions raise NotImplementedError and say what to do
instead.
"""

from __future__ import annotations

from typing import Any

from lstmcore import raw_ops as raw_ops
from lstmcore.activations import sigmoid as sigmoid
from lstmcore.activations import tanh as tanh
from lstmcore.tf import compat as compat
from lstmcore.tf import contrib as contrib
from lstmcore.tf import errors as errors
from lstmcore.tf import logging as logging
from lstmcore.tf import nn as nn
from lstmcore.tf import random as random
from lstmcore.tf import train as train
from lstmcore.tf.arithmetic import *  # noqa: F403
from lstmcore.tf.arrays import *  # noqa: F403
from lstmcore.tf.collections import *  # noqa: F403
from lstmcore.tf.data_types import *  # noqa: F403
from lstmcore.tf.graph_mode import *  # noqa: F403
from lstmcore.tf.missing import missing_name as _missing_name
from lstmcore.variables import initializers as initializers
from lstmcore.variables.graph import Graph as Graph
from lstmcore.variables.graph import get_default_graph as get_default_graph
from lstmcore.variables.graph import global_variables as global_variables
from lstmcore.variables.graph import reset_default_graph as reset_default_graph
from lstmcore.variables.graph import trainable_variables as trainable_variables
from lstmcore.variables.variable_scope import AUTO_REUSE as AUTO_REUSE
from lstmcore.variables.variable_scope import VariableScope as VariableScope
from lstmcore.variables.variable_scope import get_variable as get_variable
from lstmcore.variables.variable_scope import get_variable_scope as get_variable_scope
from lstmcore.variables.variable_scope import variable_scope as variable_scope
from lstmcore.variables.variable_store import fixed_size_partitioner as fixed_size_partitioner

constant_initializer = initializers.Constant
glorot_normal_initializer = initializers.GlorotNormal
glorot_uniform_initializer = initializers.GlorotUniform
ones_initializer = initializers.Ones
orthogonal_initializer = initializers.Orthogonal
random_normal_initializer = initializers.RandomNormal
random_uniform_initializer = initializers.RandomUniform
truncated_normal_initializer = initializers.TruncatedNormal
variance_scaling_initializer = initializers.VarianceScaling
zeros_initializer = initializers.Zeros

random_normal, random_uniform = random.normal, random.uniform
truncated_normal, set_random_seed = random.truncated_normal, random.set_seed
multinomial = random.multinomial


def __getattr__(name: str) -> Any:
    raise _missing_name("tf", name)
