"""The character model of ``lstmcore demo``: one BasicLSTMCell and a linear layer."""

from __future__ import annotations

import itertools
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from lstmcore.cells.lstm_cells import BasicLSTMCell
from lstmcore.cells.rnn_cell import LSTMStateTuple
from lstmcore.errors import CheckpointError
from lstmcore.variables.graph import Graph

Array = NDArray[Any]

PACKAGED_MODEL = Path(__file__).parent.parent / "data" / "demo.npz"

# What a model file holds: name -> number of axes.
_ARRAYS = {
    "alphabet": 0,
    "source": 0,
    "forget_bias": 0,
    "kernel": 2,
    "bias": 1,
    "output_kernel": 2,
    "output_bias": 1,
}


@dataclass(frozen=True)
class CharacterModel:
    """Weights ready to run, made by `load_model`.

    Characters are positions in `alphabet`; a state is the cell's LSTMStateTuple for a batch of one.
    """

    alphabet: str
    source: str
    cell: BasicLSTMCell
    output_kernel: Array  # [num_units, characters] float32
    output_bias: Array  # [characters] float32
    one_hot: Array  # [characters, 1, characters] float32: the input of the cell for each character

    @property
    def num_units(self) -> int:
        return int(self.output_kernel.shape[0])

    def zero_state(self) -> LSTMStateTuple:
        """The state before any character was read."""
        return cast(LSTMStateTuple, self.cell.zero_state(1, np.float32))

    def step(self, character: int, state: LSTMStateTuple) -> tuple[Array, LSTMStateTuple]:
        """Read one character; return the logits [characters] of the next one, and the new state."""
        output, new_state = self.cell(self.one_hot[character], state)
        return output[0] @ self.output_kernel + self.output_bias, new_state

    def positions(self, text: str) -> list[int]:
        """Positions of `text` in the alphabet; ValueError names a character that is not there."""
        for character in text:
            if character not in self.alphabet:
                known = self.alphabet.replace("\n", "").strip()
                raise ValueError(
                    f"the model knows no {character!r}, only space, line feed and {known}"
                )
        return [self.alphabet.index(character) for character in text]

    def loss(self, text: str) -> float:
        """Mean cross entropy of `text` after its first character, in nats per character."""
        characters = self.positions(text)
        if len(characters) < 2:
            raise ValueError(f"text: expected at least 2 characters, got {len(characters)}")
        state, total = self.zero_state(), 0.0
        for current, following in itertools.pairwise(characters):
            logits, state = self.step(current, state)
            total -= float(np.log(probabilities(logits)[following]))
        return total / (len(characters) - 1)

    def write(self, prompt: str, temperature: float, seed: int) -> Iterator[str]:
        """Endless text after `prompt` (at least one character), one character at a time.

        The next character is drawn from softmax(logits / temperature); temperature 0 takes the
        likeliest. The same prompt, temperature and seed give the same text.
        """
        *context, character = self.positions(prompt)
        random = np.random.default_rng(seed)
        state = self.zero_state()
        for read in context:
            _, state = self.step(read, state)
        while True:
            logits, state = self.step(character, state)
            if temperature > 0:
                cumulative = np.cumsum(probabilities(logits, temperature))
                character = int(np.searchsorted(cumulative, random.random() * cumulative[-1]))
            else:
                character = int(np.argmax(logits))
            yield self.alphabet[character]


def probabilities(logits: Array, temperature: float = 1.0) -> Array:
    """softmax(logits / temperature) in float64, shifted so that nothing overflows."""
    with np.errstate(over="ignore"):  # a tiny temperature: -inf, whose exponential is the right 0
        unnormalised = np.exp((logits.astype(np.float64) - logits.max()) / temperature)
    return cast(Array, unnormalised / unnormalised.sum())


def load_model(path: str | Path = PACKAGED_MODEL) -> CharacterModel:
    """Read a model file, as examples/train_demo/train.py writes it.

    Raises OSError when the file cannot be opened, CheckpointError when it is not such a file.
    Nothing in the file is executed: arrays that would need pickle are refused.
    """
    arrays = _read_arrays(Path(path))
    _check_arrays(Path(path), arrays)
    alphabet = str(arrays["alphabet"])
    cell = _cell(arrays, characters=len(alphabet))
    return CharacterModel(
        alphabet=alphabet,
        source=str(arrays["source"]),
        cell=cell,
        output_kernel=arrays["output_kernel"].astype(np.float32),
        output_bias=arrays["output_bias"].astype(np.float32),
        one_hot=np.eye(len(alphabet), dtype=np.float32)[:, None, :],
    )


def _read_arrays(path: Path) -> dict[str, Array]:
    if path.is_dir():
        raise CheckpointError(f"{path} is a folder; expected a model file (.npz)")
    try:
        file = np.load(path, allow_pickle=False)
        if not isinstance(file, np.lib.npyio.NpzFile):
            raise CheckpointError(f"{path} holds a single array; expected a model file (.npz)")
        with file:
            missing = [name for name in _ARRAYS if name not in file.files]
            if missing:
                raise CheckpointError(f"{path} lacks {', '.join(missing)}; it is no demo model")
            return {name: file[name] for name in _ARRAYS}
    except CheckpointError:
        raise
    except (
        ValueError,
        EOFError,
        RuntimeError,
        MemoryError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise CheckpointError(f"{path} cannot be read as a model file (.npz): {error}") from error


def _check_arrays(path: Path, arrays: dict[str, Array]) -> None:
    """Refuse arrays whose types or shapes do not fit together."""
    for name, axes in _ARRAYS.items():
        array = arrays[name]
        kind = "U" if name in ("alphabet", "source") else "f"
        if array.dtype.kind != kind or array.ndim != axes:
            what = "text" if kind == "U" else f"floating point with {axes} axes"
            raise CheckpointError(
                f"{path}: {name} should be {what}, got {array.dtype} of shape {array.shape}"
            )
    characters, num_units = len(str(arrays["alphabet"])), len(arrays["output_kernel"])
    expected = {
        "kernel": (characters + num_units, 4 * num_units),
        "bias": (4 * num_units,),
        "output_kernel": (num_units, characters),
        "output_bias": (characters,),
    }
    for name, shape in expected.items():
        if arrays[name].shape != shape or 0 in shape:
            raise CheckpointError(
                f"{path}: {name} has shape {arrays[name].shape}; an alphabet of {characters} and "
                f"{num_units} units need {shape}"
            )
        if not np.isfinite(arrays[name]).all():
            raise CheckpointError(f"{path}: {name} holds values that are not finite")


def _cell(arrays: dict[str, Array], characters: int) -> BasicLSTMCell:
    # In a graph of its own, so that the names of the caller's layers do not depend on the demo.
    with Graph().as_default():
        cell = BasicLSTMCell(
            len(arrays["output_kernel"]), forget_bias=float(arrays["forget_bias"]), dtype=np.float32
        )
        cell.build((1, characters))
        cell.set_weights([arrays[name].astype(np.float32) for name in ("kernel", "bias")])
    return cell
