"""Chiron's DNA network: signal -> convolutions -> three bidirectional LSTM layers -> letter scores.

Published in Teng et al., "Chiron: translating nanopore raw signal directly into nucleotide sequence
using deep learning", GigaScience 7(5), 2018. The LSTM layers are lstmcore's, the rest is NumPy.
N: segments, T: samples of a segment.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import lstmcore

Array = NDArray[np.float32]

SEGMENT, STEP = 400, 390  # samples in a segment, and from one segment's start to the next one's
LETTERS = "ACGT"  # classes 0 to 3; class 4 is CTC's blank

_UNITS = 100  # of each LSTM layer, in each direction
_BATCH_NORM_EPSILON = 1e-5
# The normal distribution's 3/4 quantile: turns a median absolute deviation into a standard one.
_NORMAL_QUARTILE = 0.6744897501960817


def read_signal(path: Path) -> Array:
    """The current readings of a .signal file (numbers in text), as the sequencer's integers.

    Raises ValueError when the file holds something else.
    """
    try:
        signal = np.array(path.read_text().split(), np.float32)
    except ValueError as error:
        raise ValueError(f"{path} is no signal file: {error}") from error
    if not signal.size or not np.isfinite(signal).all():
        raise ValueError(f"{path} is no signal file: it must hold finite numbers")
    return signal


def normalise(signal: Array) -> Array:
    """Shift and scale by median and median absolute deviation of the *distinct* readings.

    Raises ValueError when the readings do not vary.
    """
    values = np.unique(signal)
    median = np.median(values)
    deviation = np.median(np.abs(values - median)) / _NORMAL_QUARTILE
    if deviation == 0:
        raise ValueError("the signal is constant")
    return ((signal - median) / deviation).astype(np.float32)


def cut(signal: Array, count: int) -> tuple[Array, NDArray[np.int32]]:
    """The first `count` segments and their lengths: [N, SEGMENT] and [N].

    There are fewer when the signal ends before; zeros follow its end.
    """
    starts = range(0, len(signal), STEP)[:count]
    segments = np.zeros((len(starts), SEGMENT), np.float32)
    lengths = np.zeros(len(starts), np.int32)
    for row, start in enumerate(starts):
        piece = signal[start : start + SEGMENT]
        segments[row, : len(piece)] = piece
        lengths[row] = len(piece)
    return segments, lengths


def convolve(x: Array, weights: Array) -> Array:
    """1-D convolution (a correlation, as in TensorFlow) padded with zeros to keep the length.

    x [N, T, in], weights [width, in, out] with odd width. Returns [N, T, out].
    """
    width, inputs, outputs = weights.shape
    rows, length = x.shape[:2]
    side = width // 2
    padded = np.pad(x, ((0, 0), (side, side), (0, 0)))
    windows = np.concatenate([padded[:, k : k + length] for k in range(width)], axis=2)
    # One big product: per segment, NumPy's BLAS would spend most of the time waking its threads.
    product = windows.reshape(-1, width * inputs) @ weights.reshape(-1, outputs)
    return product.reshape(rows, length, outputs)


class Network:
    """The network with the weights of one TensorFlow checkpoint.

    Raises lstmcore.CheckpointError when the file is no checkpoint, or lacks a variable.
    """

    def __init__(self, checkpoint: Path) -> None:
        reader = lstmcore.load_checkpoint(checkpoint)
        self._blocks = [_Block(reader, f"res_layer{i}") for i in (1, 2, 3)]
        # Three LSTMCells each way. Checkpoints do not hold the forget bias; Chiron left it at
        # TensorFlow's default.
        self._forward, self._backward = lstmcore.cells_from_checkpoint(
            reader, "BDLSTM_rnn", forget_bias=1.0
        )
        get = reader.get_tensor
        self._mix, self._mix_bias = get("rnn_fnn_layer/weights"), get("rnn_fnn_layer/bias")
        self._classes = get("rnn_fnn_layer/weights_class")
        self._classes_bias = get("rnn_fnn_layer/bias_class")

    def features(self, segments: Array) -> Array:
        """The convolutions: normalised samples [N, T] -> [N, T, 256]."""
        x = segments[:, :, np.newaxis]
        for block in self._blocks:
            x = block(x)
        return x

    def states(self, features: Array, lengths: NDArray[np.int32]) -> Array:
        """The LSTM layers: [N, T, 256] -> [N, T, 200], zeros from a segment's length on."""
        outputs, _, _ = lstmcore.stack_bidirectional_dynamic_rnn(
            self._forward, self._backward, features, sequence_length=lengths, dtype=np.float32
        )
        return outputs

    def logits(self, states: Array) -> Array:
        """Scores of A, C, G, T and blank for every sample: [N, T, 200] -> [N, T, 5]."""
        both = states.reshape(*states.shape[:2], 2, _UNITS)  # forward and backward
        mixed = (both * self._mix).sum(axis=2) + self._mix_bias
        return mixed @ self._classes + self._classes_bias


class _Block:
    """A residual block: one convolution of width 1 beside a chain of widths 1, 3 and 1."""

    def __init__(self, reader: lstmcore.CheckpointReader, name: str) -> None:
        self._side = _Conv(reader, f"{name}/branch1/conv1")
        self._chain = [_Conv(reader, f"{name}/branch2/conv2{part}") for part in "abc"]

    def __call__(self, x: Array) -> Array:
        a, b, c = self._chain
        y = c(np.maximum(b(np.maximum(a(x), 0)), 0))
        return np.maximum(self._side(x) + y, 0)


class _Conv:
    """A convolution, with the batch normalisation folded in that the checkpoint holds for it."""

    def __init__(self, reader: lstmcore.CheckpointReader, name: str) -> None:
        weights = reader.get_tensor(f"{name}/weights")[0]  # stored as [height 1, width, in, out]
        bias = np.zeros(weights.shape[-1], np.float32)
        if reader.has_tensor(f"{name}_bn/scale"):
            scale, offset, mean, variance = (
                reader.get_tensor(f"{name}_bn/{part}")
                for part in ("scale", "offset", "pop_mean", "pop_var")
            )
            scale = scale / np.sqrt(variance + _BATCH_NORM_EPSILON)
            weights, bias = weights * scale, offset - mean * scale
        self._weights, self._bias = weights, bias

    def __call__(self, x: Array) -> Array:
        return convolve(x, self._weights) + self._bias
