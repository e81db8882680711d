"""The example that trains the demo's model: the reader of the novels, and the export."""

from __future__ import annotations

import importlib.util
import struct
import sys
import zlib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from lstmcore.cells.lstm_cells import BasicLSTMCell
from lstmcore.variables.graph import Graph

EXAMPLE = Path(__file__).parent.parent / "examples" / "train_demo"


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"train_demo_{name}", EXAMPLE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def record(lines: list[str], version: int) -> bytes:
    """A record of R's lazy-load database that holds a character vector."""
    data = b"X\n" + struct.pack(">iii", version, 0x40202, 0x20300)
    if version == 3:
        data += struct.pack(">i", 5) + b"UTF-8"
    data += struct.pack(">ii", 16, len(lines))
    for line in lines:
        text = line.encode()
        data += struct.pack(">ii", 0x40009, len(text)) + text
    return struct.pack(">I", len(data)) + zlib.compress(data)


def test_novels_are_read_record_by_record() -> None:
    austen = example("austen")
    number = b"X\n" + struct.pack(">iiiii", 2, 0x40202, 0x20300, 13, 7)
    other = struct.pack(">I", len(number)) + zlib.compress(number)
    first, second = ["EMMA", "", "She was na\u00efve."], ["PERSUASION", "by"]
    database = record(first, 2) + other + record(second, 3)
    assert list(austen.novels(database)) == [first, second]


def test_what_is_no_database_is_refused() -> None:
    austen = example("austen")
    with pytest.raises(ValueError, match="no R database"):
        list(austen.novels(struct.pack(">I", 99) + zlib.compress(b"short")))


def test_reflow_keeps_one_line_per_paragraph_without_headings() -> None:
    lines = ["EMMA", "", "CHAPTER I", "", "Emma Woodhouse, _handsome_,", "clever--and rich.", ""]
    assert example("austen").reflow(lines) == "Emma Woodhouse, handsome, clever - and rich.\n"


def test_the_exported_layout_is_that_of_basic_lstm_cell() -> None:
    torch = pytest.importorskip(
        "torch", reason="PyTorch trains the model; it is not needed to run it"
    )
    train = example("train")
    torch.manual_seed(3)
    model = train.CharacterModel(characters=7, num_units=5)
    kernel, bias = train.tensorflow_layout(model)
    with Graph().as_default():
        cell = BasicLSTMCell(5, forget_bias=train.FORGET_BIAS, dtype=np.float32)
        cell.build((1, 7))
        cell.set_weights([kernel, bias])
    ids = torch.tensor([[3], [0], [6], [2], [2], [5]])
    one_hot = torch.nn.functional.one_hot(ids, 7).float()
    expected = model.lstm(one_hot)[0].detach().numpy()
    state = cell.zero_state(1, np.float32)
    for step, hidden in zip(one_hot.numpy(), expected, strict=True):
        output, state = cell(step, state)
        np.testing.assert_allclose(output, hidden, atol=2e-6)
