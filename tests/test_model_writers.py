"""What is written comes back: bit for bit where the layout allows it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lstmcore
from lstmcore import LSTM, LoadError
from lstmcore.models import Cell, CellSpec, StackLayer
from model_files import BY_FILE, FOLDER
from test_lstm_model import MODELS, inputs, model_of, random_state


def specs(model: LSTM) -> list[CellSpec]:
    return [cell.spec for layer in model.layers for _, cell in layer.cells]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", MODELS)
def test_canonical_file(name: str, dtype: str, tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    model = model_of(name, np.dtype(dtype))
    path = tmp_path / "model.safetensors"
    model.save(path)
    again = lstmcore.load(path)
    assert again.weights_equal(model)
    assert again.metadata["converter"].startswith("lstmcore ")
    assert lstmcore.open_models(path)["lstm"].weights_equal(model)


def test_canonical_file_of_a_backward_layer(tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    layer = model_of("bidirectional").layers[0]
    model = LSTM.from_layers([StackLayer(None, layer.backward)])
    lstmcore.save(model, tmp_path / "back.safetensors")
    assert lstmcore.load(tmp_path / "back.safetensors").weights_equal(model)


def test_canonical_file_keeps_where_it_came_from(tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    source = FOLDER / "tf_frozen.pb"
    path = tmp_path / "model.safetensors"
    lstmcore.load(source, forget_bias=0.5).save(path)
    again = lstmcore.load(path)
    assert again.metadata["source"] == "tf_frozen.pb"
    assert again.metadata["layout"] == "TensorFlow"
    assert len(again.metadata["source_sha256"]) == 64
    assert {spec.forget_bias for spec in specs(again)} == {0.5}
    assert again.name == "tagger"


def test_canonical_file_says_all_itself(tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    path = tmp_path / "model.safetensors"
    model_of("plain").save(path)
    for argument in ({"forget_bias": 1.0}, {"scope": "lstm"}, {"activation": "relu"}):
        with pytest.raises(LoadError, match="the file says all of its model; leave out"):
            lstmcore.load(path, **argument)  # type: ignore[arg-type]
    assert lstmcore.load(path, dtype="float64").dtype == np.float64


def test_every_bit_of_a_canonical_file_counts(tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    path = tmp_path / "model.safetensors"
    model_of("plain").save(path)
    data = path.read_bytes()
    header = int.from_bytes(data[:8], "little")
    for at in range(8 + header, len(data), 97):
        path.write_bytes(data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :])
        with pytest.raises(LoadError, match="SHA-256"):
            lstmcore.load(path)


def test_existing_files_are_not_replaced_unasked(tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    path = tmp_path / "model.safetensors"
    path.write_text("mine")
    with pytest.raises(FileExistsError, match="overwrite=True"):
        model_of("plain").save(path)
    assert path.read_text() == "mine"
    model_of("plain").save(path, overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == ["model.safetensors"]
    with pytest.raises(ValueError, match="ending"):
        model_of("plain").save(tmp_path / "model.bin")


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    path = tmp_path / "model.onnx"
    path.write_text("mine")
    with pytest.raises(ValueError, match="nothing for num_proj"):
        model_of("all options").save(path, overwrite=True)
    assert path.read_text() == "mine"
    assert [p.name for p in tmp_path.iterdir()] == ["model.onnx"]


def without_forget_bias(name: str) -> LSTM:
    """The model with its forget bias inside the bias, for layouts that have no other place."""

    def folded(cell: Cell | None) -> Cell | None:
        if cell is None:
            return None
        spec = CellSpec(**{**cell.spec.as_dict(), "forget_bias": 0.0})
        i, j, f, o = np.split(cell.weights["bias"], 4)
        bias = np.concatenate([i, j, f + f.dtype.type(cell.spec.forget_bias), o])
        return Cell(spec, {**cell.weights, "bias": bias})

    layers = model_of(name).layers
    return LSTM.from_layers([StackLayer(folded(a), folded(b)) for a, b in layers])


PLAIN = ["plain", "stack", "bidirectional"]


@pytest.mark.parametrize("name", PLAIN)
def test_torch_round_trip(name: str) -> None:
    state = lstmcore.to_torch(model_of(name), "rnn.")
    assert all(key.startswith("rnn.") for key in state)
    again = lstmcore.load(state, scope="rnn")
    assert again.weights_equal(without_forget_bias(name))
    assert np.allclose(again(inputs()), model_of(name)(inputs()), atol=1e-6)


def test_torch_projection_round_trip() -> None:
    spec = CellSpec(5, 7, 3)
    random = np.random.default_rng(0)
    weights = {k: random.normal(size=s).astype(np.float32) for k, s in spec.shapes.items()}
    model = LSTM.from_layers([StackLayer(Cell(spec, weights))])
    assert lstmcore.load(lstmcore.to_torch(model)).weights_equal(model)


@pytest.mark.parametrize("name", ["torch_zip.pt", "torch_projected.pth"])
def test_torch_weights_come_back(name: str) -> None:
    """The matrices bit for bit; of the two biases only their sum is known."""
    source = BY_FILE[name]
    state = lstmcore.to_torch(lstmcore.load(source.path))
    from lstmcore.formats.opening import open_source

    original = open_source(source.path)
    assert set(state) == set(original.tensors)
    for key, value in state.items():
        want = original.read(key)
        if key.startswith("bias_ih"):
            want = want + original.read(key.replace("ih", "hh"))
        assert np.array_equal(value, want * (not key.startswith("bias_hh")))


@pytest.mark.parametrize("name", [*PLAIN, "hard gates"])
def test_keras_arrays(name: str) -> None:
    model = model_of(name)
    arrays = lstmcore.to_keras(model)
    assert [len(layer) for layer in arrays] == [3 * len(layer.cells) for layer in model.layers]
    kernel, recurrent, bias = arrays[0][:3]
    spec = specs(model)[0]
    i, f, c, o = np.split(np.concatenate([kernel, recurrent, bias[None]]), 4, axis=1)
    folded = specs(model)[0].forget_bias
    own = model.weights
    want = np.concatenate([own["layers.0.forward.kernel"], own["layers.0.forward.bias"][None]])
    wi, wj, wf, wo = np.split(want, 4, axis=1)
    wf = wf.copy()
    wf[-1] += np.float32(folded)
    assert kernel.shape == (spec.input_size, 4 * spec.num_units)
    for got, block in ((i, wi), (f, wf), (c, wj), (o, wo)):
        assert np.array_equal(got, block)


@pytest.mark.parametrize("name", [*PLAIN, "hard gates", "hard gates of Keras 3"])
def test_onnx_round_trip(name: str, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    path = tmp_path / "model.onnx"
    model_of(name).save(path)
    assert lstmcore.load(path).weights_equal(without_forget_bias(name))


def test_onnx_peepholes_round_trip(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    model = lstmcore.load(FOLDER / "onnx_bidirectional_peepholes.onnx")
    model.save(tmp_path / "again.onnx")
    assert lstmcore.load(tmp_path / "again.onnx").weights_equal(model)


@pytest.mark.parametrize("name", MODELS)
def test_tensorflow_variables(name: str) -> None:
    model = model_of(name)
    variables = lstmcore.to_tensorflow(model, "net")
    assert len(variables) == len(model.weights)
    assert all(name.startswith("net/") for name in variables)
    from lstmcore.formats import tf_names
    from lstmcore.formats.source import TensorInfo

    infos = {k: TensorInfo(v.shape, v.dtype.name) for k, v in variables.items()}
    (found,) = tf_names.find_models({k: k for k in variables}, infos)
    assert len(found.layers) == model.num_layers
    for layer, own in zip(found.layers, model.layers, strict=True):
        for (_, cell), (_, mine) in zip(layer.cells, own.cells, strict=True):
            kernel = variables[cell.names["kernel"]]
            assert np.array_equal(kernel, mine.weights["kernel"])


@pytest.mark.parametrize(
    ("write", "name", "message"),
    [
        (lstmcore.to_torch, "all options", "torch.nn.LSTM has nothing for"),
        (lstmcore.to_torch, "hard gates", "nothing for recurrent_activation='hard_sigmoid'"),
        (lstmcore.to_keras, "all options", "Keras's LSTM has nothing for num_proj=4"),
        (lstmcore.to_onnx, "all options", "ONNX's LSTM has nothing for num_proj=4"),
    ],
)
def test_what_a_layout_cannot_hold_is_refused(write: Any, name: str, message: str) -> None:
    if write is lstmcore.to_onnx:
        pytest.importorskip("onnx")
    with pytest.raises(ValueError, match=message):
        write(model_of(name))


def test_torch_has_layers_of_one_size() -> None:
    layers = [*LSTM(5, 7).layers, *LSTM(7, 4).layers]
    with pytest.raises(ValueError, match="layers of one size"):
        lstmcore.to_torch(LSTM.from_layers(layers))
    back = model_of("bidirectional").layers[0].backward
    with pytest.raises(ValueError, match="same directions in every layer"):
        lstmcore.to_torch(LSTM.from_layers([StackLayer(None, back)]))


@pytest.mark.parametrize("name", [*PLAIN, "hard gates", "hard gates of Keras 3"])
def test_onnx_models_run_in_onnxruntime(name: str) -> None:
    """With lengths and initial states, which the file takes as inputs."""
    pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    model, x, lengths = model_of(name), inputs(), [9, 3, 1, 5]
    state = random_state(model)
    feed: dict[str, Any] = {
        "X": np.ascontiguousarray(x.swapaxes(0, 1)),
        "lengths": np.array(lengths, np.int32),
    }
    pairs = iter(state)
    for k, layer in enumerate(model.layers):
        own = [next(pairs) for _ in layer.cells]
        feed |= {f"l{k}.{n}0": np.stack([pair["ch".index(n)] for pair in own]) for n in "hc"}
    session = onnxruntime.InferenceSession(lstmcore.to_onnx(model).SerializeToString())
    y, *finals = session.run(None, feed)
    got, final = model(x, lengths, state, return_state=True)
    assert np.abs(y.swapaxes(0, 1) - got).max() < 2e-6
    theirs = [
        row
        for h, c in zip(finals[::2], finals[1::2], strict=True)
        for row in zip(c, h, strict=True)
    ]
    for pair, (c, h) in zip(final, theirs, strict=True):
        assert max(np.abs(pair.c - c).max(), np.abs(pair.h - h).max()) < 2e-6


@pytest.mark.parametrize("name", PLAIN)
def test_torch_runs_what_to_torch_gives(name: str) -> None:
    torch = pytest.importorskip("torch")
    model = model_of(name)
    spec = specs(model)[0]
    module = torch.nn.LSTM(
        model.input_size,
        spec.num_units,
        model.num_layers,
        batch_first=True,
        bidirectional=model.bidirectional,
    )
    module.load_state_dict(
        {k: torch.from_numpy(v.copy()) for k, v in lstmcore.to_torch(model).items()}
    )
    y = module(torch.from_numpy(inputs()))[0].detach().numpy()
    assert np.abs(y - model(inputs())).max() < 2e-6
