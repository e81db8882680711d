"""silero-vad's network: a spectrum and four convolutions in NumPy, the LSTM by lstmcore."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

import lstmcore

RATE = 16000
CHUNK = 512  # new samples at each step
CONTEXT = 64  # samples of the chunk before, seen again
LSTM = "/recurrent/LSTM"


class Network:
    """Weights of ``silero_vad_16k_sequence.onnx``; the LSTM computes in `dtype`, the rest in
    float64."""

    def __init__(self, path: Path, dtype: str = "float32") -> None:
        self.lstm = lstmcore.load(path, scope=LSTM, dtype=dtype)
        graph = onnx.load(str(path)).graph
        self.weights = {
            t.name: numpy_helper.to_array(t).astype(np.float64) for t in graph.initializer
        }
        strides = {
            node.input[1]: next(iter(attribute.ints))
            for node in graph.node
            if node.op_type == "Conv"
            for attribute in node.attribute
            if attribute.name == "strides"
        }
        self.strides = [strides[f"encoder.{k}.weight"] for k in range(4)]
        (pad,) = (node for node in graph.node if node.op_type == "Pad")
        self.reflected = CONTEXT if pad.attribute[0].s == b"reflect" else 0

    def features(self, chunk: np.ndarray) -> np.ndarray:
        """What the LSTM reads [128] for CONTEXT + CHUNK samples."""
        padded = np.pad(chunk, (0, self.reflected), mode="reflect")
        basis = self.weights["stft.forward_basis_buffer"]
        spectrum = _convolve(padded[None], basis, None, stride=128, padding=0)
        half = len(spectrum) // 2
        values = np.sqrt(spectrum[:half] ** 2 + spectrum[half:] ** 2)
        for k, stride in enumerate(self.strides):
            weight, bias = self.weights[f"encoder.{k}.weight"], self.weights[f"encoder.{k}.bias"]
            values = np.maximum(_convolve(values, weight, bias, stride, padding=1), 0)
        return values[:, 0].astype(self.lstm.dtype)

    def probability(self, output: np.ndarray) -> float:
        """That there is speech, from what the LSTM gives [128]."""
        weight, bias = self.weights["output.weight"][0, :, 0], self.weights["output.bias"][0]
        return float(1 / (1 + np.exp(-(np.maximum(output, 0) @ weight + bias))))


class Detector:
    """One stream of samples: a probability of speech for each chunk of 512."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._stream = lstmcore.Stream(network.lstm)
        self._context = np.zeros(CONTEXT, np.float32)

    def push(self, samples: np.ndarray) -> float:
        """The next CHUNK samples, float32 in -1 to 1."""
        chunk = np.concatenate([self._context, samples])
        self._context = samples[-CONTEXT:]
        return self._network.probability(self._stream.step(self._network.features(chunk)))


def _convolve(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, stride: int, padding: int
) -> np.ndarray:
    """x [channels, time], weight [outputs, channels, width] -> [outputs, time']."""
    x = np.pad(x, ((0, 0), (padding, padding)))
    windows = np.lib.stride_tricks.sliding_window_view(x, weight.shape[2], axis=1)[:, ::stride]
    columns = windows.transpose(0, 2, 1).reshape(-1, windows.shape[1])
    y = weight.reshape(len(weight), -1) @ columns
    return y if bias is None else y + bias[:, None]
