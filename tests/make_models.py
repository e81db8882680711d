"""Makes tests/golden/models: model files written by the real frameworks, and what those compute.

Each part runs where its framework is installed (``python tests/make_models.py PART``):

    torch   torch 2.13, onnx, onnxruntime, safetensors: .pt, .safetensors and exported .onnx files
    onnx    onnx, onnxruntime: LSTM nodes with everything that the operator offers
    keras3  keras 3 (KERAS_BACKEND=torch): .keras, .weights.h5 and .h5 files
    keras2  tensorflow-cpu 2.15: Keras 2 .h5 files, CuDNN layout included; SavedModels
    tf      tensorflow-cpu 2.15: a frozen graph, a SavedModel, checkpoints

Beside each file NAME.EXT lies NAME.npz: x [N, T, I], lengths [N], y [N, T, P] with zeros past each
row's length.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).parent / "golden" / "models"
N, T, I = 3, 6, 5
LENGTHS = np.array([6, 2, 4])


def inputs(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(N, T, I)).astype(np.float32)


def randomize(arrays: list[np.ndarray], seed: int) -> list[np.ndarray]:
    """Values of the size of trained weights, biases too; nothing neutral."""
    random = np.random.default_rng(seed)
    return [random.normal(0, 0.4, a.shape).astype(a.dtype) for a in arrays]


def by_row(run: Any, x: np.ndarray) -> np.ndarray:
    """``run`` on each row alone, cut to its length."""
    rows = [np.asarray(run(x[n : n + 1, :length]))[0] for n, length in enumerate(LENGTHS)]
    y = np.zeros((N, T, rows[0].shape[-1]), np.float32)
    for n, row in enumerate(rows):
        y[n, : len(row)] = row
    return y


def expect(name: str, x: np.ndarray, y: np.ndarray) -> None:
    np.savez_compressed(FOLDER / f"{name}.npz", x=x, lengths=LENGTHS, y=y)
    print(name, y.shape, float(np.abs(y).max()))


def make_torch() -> None:
    import safetensors.torch
    import torch

    torch.manual_seed(0)

    def module(seed: int, *sizes: int, **options: Any) -> Any:
        lstm = torch.nn.LSTM(*sizes, batch_first=True, **options)
        with torch.no_grad():
            random = np.random.default_rng(seed)
            for parameter in lstm.parameters():
                parameter.copy_(torch.tensor(random.normal(0, 0.4, tuple(parameter.shape))))
        return lstm.eval()

    def run(lstm: Any) -> Any:
        return lambda x: lstm(torch.tensor(x))[0].detach().numpy()

    stacked = module(1, I, 7, 2, bidirectional=True)
    for name, save in (
        ("torch_zip.pt", lambda p: torch.save(stacked.state_dict(), p)),
        (
            "torch_stream.pt",
            lambda p: torch.save(stacked.state_dict(), p, _use_new_zipfile_serialization=False),
        ),
        (
            "torch_flavoured.safetensors",
            lambda p: safetensors.torch.save_file(stacked.state_dict(), p),
        ),
    ):
        save(FOLDER / name)
        expect(name.partition(".")[0], inputs(1), by_row(run(stacked), inputs(1)))

    projected = module(2, I, 7, 2, proj_size=3)
    torch.save(projected.state_dict(), FOLDER / "torch_projected.pth")
    expect("torch_projected", inputs(2), by_row(run(projected), inputs(2)))

    plain = module(3, I, 6, bias=False)
    torch.save({"net": {"rnn": plain.state_dict()}}, FOLDER / "torch_nested.pt")
    expect("torch_nested", inputs(3), by_row(run(plain), inputs(3)))

    class Tagger(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = torch.nn.Linear(I, I)
            self.encoder = module(4, I, 4, 2)
            self.decoder = module(5, 4, 3)
            self.out = torch.nn.Linear(3, 2)

    tagger = Tagger()
    optimizer = torch.optim.Adam(tagger.parameters())
    tagger.out(tagger.decoder(tagger.encoder(torch.tensor(inputs(4)))[0])[0]).sum().backward()
    optimizer.step()
    checkpoint = {
        "epoch": 3,
        "model_state_dict": tagger.state_dict(),
        "optimizer_state_dict": optimizer.state_dict(),
    }
    torch.save(checkpoint, FOLDER / "torch_training.pt")
    expect("torch_training", inputs(4), by_row(run(tagger.encoder), inputs(4)))

    cell = torch.nn.LSTMCell(I, 6)
    with torch.no_grad():
        for k, parameter in enumerate(cell.parameters()):
            random = np.random.default_rng(60 + k)
            parameter.copy_(torch.tensor(random.normal(0, 0.4, tuple(parameter.shape))))

    def run_cell(x: np.ndarray) -> np.ndarray:
        state, outputs = None, []
        for t in range(x.shape[1]):
            state = cell(torch.tensor(x[:, t]), state)
            outputs.append(state[0].detach().numpy())
        return np.stack(outputs, axis=1)

    torch.save(cell.state_dict(), FOLDER / "torch_cell.pt")
    expect("torch_cell", inputs(6), by_row(run_cell, inputs(6)))

    for name, dtype in (("torch_bfloat16", torch.bfloat16), ("torch_float16", torch.float16)):
        narrow = module(7, I, 5).to(dtype)
        torch.save(narrow.state_dict(), FOLDER / f"{name}.pt")
        safetensors.torch.save_file(narrow.state_dict(), FOLDER / f"{name}.safetensors")
        expect(name, inputs(7), by_row(run(narrow.float()), inputs(7)))

    double = module(8, I, 5).double()
    torch.save(double.state_dict(), FOLDER / "torch_float64.pt")
    x = inputs(8)
    expect("torch_float64", x, by_row(lambda v: run(double)(v.astype(np.float64)), x))

    make_exports(stacked, run(stacked))


def make_exports(lstm: Any, run: Any) -> None:
    """The same two-layer bidirectional module through both exporters."""
    import onnx
    import onnxruntime
    import torch

    x = inputs(1)
    for name, dynamo in (("onnx_exported_dynamo", True), ("onnx_exported_script", False)):
        path = FOLDER / f"{name}.onnx"
        try:
            axes: Any = {"dynamic_shapes": None} if dynamo else {"dynamic_axes": {"x": {0: "n"}}}
            torch.onnx.export(
                lstm, (torch.tensor(x),), path, input_names=["x"], dynamo=dynamo, **axes
            )
        except Exception as error:
            print(name, "not made:", error)
            continue
        model = onnx.load(path)
        onnx.save(model, path)  # weights inside
        for extra in FOLDER.glob("*.data"):
            extra.unlink()
        session = onnxruntime.InferenceSession(path)
        got = session.run(None, {session.get_inputs()[0].name: x})[0]
        print(name, "against torch", float(np.abs(got - run(x)).max()))
        expect(name, x, by_row(run, x))


def make_onnx() -> None:
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper
    from onnx.reference import ReferenceEvaluator

    def case(
        name: str,
        seed: int,
        *,
        H: int,
        direction: str = "forward",
        peepholes: bool = False,
        inside_if: bool = False,
        constants: bool = False,
        evaluator: str = "onnxruntime",
        **attributes: Any,
    ) -> None:
        D = 2 if direction == "bidirectional" else 1
        random = np.random.default_rng(seed)
        shapes = {"W": (D, 4 * H, I), "R": (D, 4 * H, H), "B": (D, 8 * H)}
        if peepholes:
            shapes["P"] = (D, 3 * H)
        weights = {k: random.normal(0, 0.4, s).astype(np.float32) for k, s in shapes.items()}
        node_inputs = ["X", "W", "R", "B", "lengths"] + (["", "", "P"] if peepholes else [])
        node = helper.make_node(
            "LSTM",
            node_inputs,
            ["Y"],
            name="rnn",
            hidden_size=H,
            direction=direction,
            **attributes,
        )
        tensors = [numpy_helper.from_array(value, key) for key, value in weights.items()]
        x = helper.make_tensor_value_info("X", TensorProto.FLOAT, [None, None, I])
        lengths = helper.make_tensor_value_info("lengths", TensorProto.INT32, [None])
        y = helper.make_tensor_value_info("Y", TensorProto.FLOAT, [None] * 4)
        if inside_if:
            branch = helper.make_graph([node], "body", [], [y], [] if constants else tensors)
            other = helper.make_graph(
                [
                    helper.make_node("Constant", [], ["one"], value_ints=[1]),
                    helper.make_node("Unsqueeze", ["X", "one"], ["Y2"]),
                ],
                "other",
                [],
                [helper.make_tensor_value_info("Y2", TensorProto.FLOAT, [None] * 4)],
            )
            flag = helper.make_tensor_value_info("flag", TensorProto.BOOL, [])
            outer = helper.make_node("If", ["flag"], ["Z"], then_branch=branch, else_branch=other)
            z = helper.make_tensor_value_info("Z", TensorProto.FLOAT, [None] * 4)
            graph = helper.make_graph([outer], name, [x, lengths, flag], [z])
        elif constants:
            nodes = [
                helper.make_node(
                    "Constant", [], [key + "_flat"], value=numpy_helper.from_array(v[0])
                )
                for key, v in weights.items()
            ]
            nodes.append(
                helper.make_node(
                    "Constant", [], ["axes"], value=numpy_helper.from_array(np.array([0]))
                )
            )
            nodes += [helper.make_node("Unsqueeze", [k + "_flat", "axes"], [k]) for k in weights]
            graph = helper.make_graph([*nodes, node], name, [x, lengths], [y])
        else:
            graph = helper.make_graph([node], name, [x, lengths], [y], tensors)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.checker.check_model(model)
        onnx.save(model, FOLDER / f"{name}.onnx")
        batch = inputs(seed)
        batch_first = attributes.get("layout") == 1
        feed: dict[str, Any] = {
            "X": batch if batch_first else batch.transpose(1, 0, 2),
            "lengths": LENGTHS.astype(np.int32),
        }
        if inside_if:
            feed["flag"] = np.array(True)
        if evaluator == "onnxruntime":
            session = onnxruntime.InferenceSession(model.SerializeToString())
            out = session.run(None, feed)[0]  # [T, D, N, H]
            expect(name, batch, out.transpose(2, 0, 1, 3).reshape(N, T, D * H))
            return
        del feed["lengths"]  # which the reference evaluator does not look at

        def run(rows: np.ndarray) -> np.ndarray:
            given = {**feed, "X": rows, "lengths": np.array([rows.shape[1]], np.int32)}
            out = ReferenceEvaluator(model).run(None, given)[0]  # layout 1: [N, T, D, H]
            return np.asarray(out).reshape(1, rows.shape[1], D * H)

        expect(name, batch, by_row(run, batch))

    case("onnx_bidirectional_peepholes", 11, H=4, direction="bidirectional", peepholes=True)
    case("onnx_reverse", 12, H=6, direction="reverse")
    case("onnx_batch_first", 13, H=5, layout=1, evaluator="reference")
    case("onnx_if", 14, H=3, inside_if=True)
    case("onnx_constants", 15, H=3, constants=True)
    case(
        "onnx_activations",
        16,
        H=4,
        activations=["HardSigmoid", "Softsign", "Softsign"],
        activation_alpha=[0.2],
        activation_beta=[0.5],
    )


def keras_layers(layers: Any) -> dict[str, Any]:
    """The models that both versions of Keras make, by name."""
    return {
        "stack": [
            layers.LSTM(7, return_sequences=True, name="low"),
            layers.Dropout(0.3),
            layers.LSTM(4, return_sequences=True, name="high"),
        ],
        "bidirectional": [
            layers.Bidirectional(layers.LSTM(6, return_sequences=True), name="both"),
            layers.Bidirectional(layers.LSTM(3, return_sequences=True), name="above"),
        ],
        "hard": [
            layers.LSTM(
                6,
                return_sequences=True,
                activation="softsign",
                recurrent_activation="hard_sigmoid",
                name="hard",
            )
        ],
        "tagger": [
            layers.Dense(5, name="in"),
            layers.LSTM(6, return_sequences=True, use_bias=False, name="rnn"),
            layers.Dense(2, name="out"),
        ],
    }


def make_keras(version: int) -> None:
    if version == 3:
        import keras
    else:
        from tensorflow import keras

    for k, (name, layers) in enumerate(keras_layers(keras.layers).items()):
        model = keras.Sequential([keras.layers.Input((None, I)), *layers])
        model.set_weights(randomize(model.get_weights(), 20 + k))
        x = inputs(20 + k)
        known = name == "tagger"
        lstm = layers[1] if known else model
        file = f"keras{version}_{name}"
        y = by_row(lambda v, lstm=lstm: np.asarray(_numpy(lstm(v))), x)
        expect(file, x, y)
        if version == 3:
            model.save(FOLDER / f"{file}.keras")
            model.save_weights(FOLDER / f"{file}.weights.h5")
        model.save(FOLDER / f"{file}.h5")
        if version == 2:
            model.save_weights(FOLDER / f"{file}_weights.h5")
    if version == 2:
        make_cudnn(keras)
        make_saved_model(keras)


def _numpy(value: Any) -> Any:
    return value.detach().cpu().numpy() if hasattr(value, "detach") else value


def make_cudnn(keras: Any) -> None:
    """CuDNNLSTM cannot run here, but be built and saved; Keras converts its weights itself."""
    import tensorflow as tf

    x = inputs(31)
    cudnn = keras.Sequential(
        [
            keras.layers.Input((None, I)),
            tf.compat.v1.keras.layers.CuDNNLSTM(6, return_sequences=True, name="rnn"),
        ]
    )
    cudnn.set_weights(randomize(cudnn.get_weights(), 31))
    path = FOLDER / "keras2_cudnn_weights.h5"
    cudnn.save_weights(path)
    plain = keras.Sequential(
        [keras.layers.Input((None, I)), keras.layers.LSTM(6, return_sequences=True, name="rnn")]
    )
    plain.load_weights(path)
    expect("keras2_cudnn_weights", x, by_row(lambda v: plain(v).numpy(), x))


def make_saved_model(keras: Any) -> None:
    x = inputs(32)
    layers = [keras.layers.Bidirectional(keras.layers.LSTM(4, return_sequences=True))]
    model = keras.Sequential([keras.layers.Input((None, I)), *layers])
    model.set_weights(randomize(model.get_weights(), 32))
    folder = FOLDER / "keras2_saved_model"
    model.save(folder, save_format="tf")
    for file in ("saved_model.pb", "keras_metadata.pb", "fingerprint.pb"):  # megabytes of graphs
        (folder / file).unlink()
    (folder / "assets").rmdir()
    expect("keras2_saved_model", x, by_row(lambda v: model(v).numpy(), x))


def make_tf() -> None:
    import tensorflow.compat.v1 as tf

    tf.disable_v2_behavior()
    x = inputs(41)
    graph = tf.Graph()
    with graph.as_default(), tf.Session() as session:
        given = tf.placeholder(tf.float32, [None, None, I], "x")
        lengths = tf.placeholder(tf.int32, [None], "lengths")
        with tf.variable_scope("tagger"):
            cells = [
                tf.nn.rnn_cell.LSTMCell(6, use_peepholes=True, num_proj=3),
                tf.nn.rnn_cell.BasicLSTMCell(4),
            ]
            cell = tf.nn.rnn_cell.MultiRNNCell(cells)
            y, _ = tf.nn.dynamic_rnn(cell, given, lengths, dtype=tf.float32)
        y = tf.identity(y, "y")
        session.run(tf.global_variables_initializer())
        variables = tf.global_variables()
        values = randomize(session.run(variables), 41)
        for variable, value in zip(variables, values, strict=True):
            variable.load(value, session)
        frozen = tf.graph_util.convert_variables_to_constants(session, graph.as_graph_def(), ["y"])
        (FOLDER / "tf_frozen.pb").write_bytes(frozen.SerializeToString())
        expect("tf_frozen", x, session.run(y, {given: x, lengths: LENGTHS}))
        folder = str(FOLDER / "tf_saved_model")
        tf.saved_model.simple_save(session, folder, {"x": given, "lengths": lengths}, {"y": y})
        expect("tf_saved_model", x, session.run(y, {given: x, lengths: LENGTHS}))
    make_bidirectional_checkpoint(tf)


def make_bidirectional_checkpoint(tf: Any) -> None:
    """Two layers of both directions under the names of stack_bidirectional_dynamic_rnn."""
    x = inputs(42)
    graph = tf.Graph()
    with graph.as_default(), tf.Session() as session:
        y: Any = tf.constant(x)
        for k, units in enumerate((6, 4)):
            with tf.variable_scope(f"net/stack_bidirectional_rnn/cell_{k}"):
                cells = [tf.nn.rnn_cell.LSTMCell(units, use_peepholes=k == 0) for _ in range(2)]
                both, _ = tf.nn.bidirectional_dynamic_rnn(*cells, y, LENGTHS, dtype=tf.float32)
                y = tf.concat(both, 2)
        session.run(tf.global_variables_initializer())
        variables = tf.global_variables()
        for variable, value in zip(variables, randomize(session.run(variables), 42), strict=True):
            variable.load(value, session)
        folder = FOLDER / "tf_bidirectional"
        tf.train.Saver().save(session, str(folder / "model.ckpt"), 7, write_meta_graph=False)
        (folder / "checkpoint").write_text('model_checkpoint_path: "model.ckpt-7"\n')
        expect("tf_bidirectional", x, session.run(y))


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    {
        "torch": make_torch,
        "onnx": make_onnx,
        "keras3": lambda: make_keras(3),
        "keras2": lambda: make_keras(2),
        "tf": make_tf,
    }[sys.argv[1]]()
