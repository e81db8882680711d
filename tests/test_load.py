"""Files written by the real frameworks load and give those frameworks' outputs."""

from __future__ import annotations

import subprocess
import sys
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lstmcore
from lstmcore import LoadError
from lstmcore.formats import building, loading
from lstmcore.formats.opening import open_source
from model_files import BY_FILE, CASES, FOLDER, ModelFile

# The frameworks compute in float32 as well, each in its own order.
RELATIVE = 1e-5


def loaded(case: ModelFile, **more: Any) -> lstmcore.LSTM:
    if case.needs:
        pytest.importorskip(case.needs)
    return lstmcore.load(case.path, **{**case.arguments, **more})


def reference_input(name: str, **more: Any) -> lstmcore.LSTM:
    return loaded(BY_FILE[name], **more)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.file)
def test_outputs_are_the_frameworks(case: ModelFile) -> None:
    model, values = loaded(case), case.values
    x, y = values["x"].astype(model.dtype), values["y"]
    got = model(x, values["lengths"])
    assert got.shape == y.shape
    assert np.abs(y).max() > 0.1
    assert np.abs(got - y).max() <= RELATIVE * np.abs(y).max()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.file)
def test_inspecting_reads_what_loading_makes(case: ModelFile) -> None:
    from lstmcore.app import inspecting

    model = loaded(case)
    found = inspecting.report(str(case.path))
    cells = [cell for entry in found["models"] for cell in entry["cells"]]
    assert all(entry["problem"] is None for entry in found["models"])
    for layer in model.layers:
        for _, cell in layer.cells:
            sizes = (cell.spec.input_size, cell.spec.num_units, cell.spec.num_proj)
            assert sizes in {(c["input_size"], c["num_units"], c["num_proj"]) for c in cells}
    assert inspecting.as_text(found)


def test_every_file_is_a_case() -> None:
    files = {p.name for p in FOLDER.iterdir() if p.suffix != ".npz" and p.name != "hostile"}
    assert files == set(BY_FILE)


class TestScopes:
    path = FOLDER / "torch_training.pt"

    def test_several_models_need_a_scope(self) -> None:
        with pytest.raises(LoadError, match=r"2 LSTM models: .*encoder.*decoder.*scope="):
            lstmcore.load(self.path)

    def test_unknown_scope_lists_what_there_is(self) -> None:
        with pytest.raises(
            LoadError, match=r"no LSTM model 'enc'; there are 'model_state_dict\.enc"
        ):
            lstmcore.load(self.path, scope="enc")

    def test_prefix_of_several(self) -> None:
        with pytest.raises(LoadError, match="several models under 'model_state_dict'"):
            lstmcore.load(self.path, scope="model_state_dict")

    def test_open_models_gives_all(self) -> None:
        models = lstmcore.open_models(self.path)
        assert {name: (m.input_size, m.num_layers) for name, m in models.items()} == {
            "model_state_dict.encoder": (5, 2),
            "model_state_dict.decoder": (4, 1),
        }

    def test_a_list_is_stacked(self) -> None:
        names = ["model_state_dict.encoder", "model_state_dict.decoder"]
        parts, stack = lstmcore.open_models(self.path), lstmcore.load(self.path, names)
        x = BY_FILE["torch_training.pt"].values["x"]
        assert np.array_equal(stack(x), parts[names[1]](parts[names[0]](x)))

    def test_what_does_not_fit_is_no_stack(self) -> None:
        names = ["model_state_dict.decoder", "model_state_dict.encoder"]
        with pytest.raises(
            LoadError, match=r"is no stack: layers\[1\] forward: expected input_size 3"
        ):
            lstmcore.load(self.path, names)


class TestStrictness:
    def test_unused_tensors_are_named(self) -> None:
        pytest.importorskip("h5py")
        with pytest.raises(LoadError, match=r"4 tensors were not used: .*in/.*scope='rnn'.*ignore"):
            lstmcore.load(FOLDER / "keras2_tagger.h5")

    @pytest.mark.parametrize(
        "ignore",
        [["model_weights/in", "model_weights/out"], ["*dense*", "*in/*", "*out/*"]],
        ids=["prefixes", "patterns"],
    )
    def test_ignored_tensors_are_left_out(self, ignore: list[str]) -> None:
        pytest.importorskip("h5py")
        assert lstmcore.load(FOLDER / "keras2_tagger.h5", ignore=ignore).num_layers == 1

    def test_ignore_is_a_list(self) -> None:
        with pytest.raises(TypeError, match="ignore: expected a list"):
            lstmcore.load(FOLDER / "torch_zip.pt", ignore="bias")

    def test_an_unknown_tensor_of_the_layer(self) -> None:
        state = {**_state(5, 7), "gain": np.ones(3, np.float32)}
        with pytest.raises(LoadError, match="1 tensors were not used: gain"):
            lstmcore.load(state)

    def test_self_check_fails_on_a_wrong_conversion(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from lstmcore.formats.layouts import TORCH

        monkeypatch.setattr(type(TORCH), "gates", "ijfo", raising=True)
        monkeypatch.setattr(
            type(TORCH),
            "pre_activations",
            lambda self, w, x, h: dict(
                zip(
                    "ifjo",
                    np.split(
                        x @ w["weight_ih"].T + h @ w["weight_hh"].T + w["bias_ih"] + w["bias_hh"],
                        4,
                        axis=1,
                    ),
                    strict=True,
                )
            ),
        )
        with pytest.raises(LoadError, match="the self-check failed"):
            lstmcore.load(_state(5, 7))


class TestForgetBias:
    def test_tensorflow_files_ask(self) -> None:
        with pytest.raises(LoadError, match=r"needs a forget_bias.*Pass forget_bias="):
            lstmcore.load(FOLDER / "tf_frozen.pb")

    def test_it_is_kept_beside_the_bias(self) -> None:
        one = reference_input("tf_frozen.pb")
        other = reference_input("tf_frozen.pb", forget_bias=0.25)
        assert all(np.array_equal(v, other.weights[k]) for k, v in one.weights.items())
        assert [c.spec.forget_bias for layer in other.layers for _, c in layer.cells] == [0.25] * 2

    def test_others_have_it_inside(self) -> None:
        with pytest.raises(LoadError, match=r"forget_bias=1.0, but PyTorch's weights have theirs"):
            lstmcore.load(FOLDER / "torch_zip.pt", forget_bias=1.0)

    def test_zero_may_be_stated(self) -> None:
        assert lstmcore.load(FOLDER / "torch_zip.pt", forget_bias=0.0).num_layers == 2


class TestOptions:
    def test_the_file_wins_or_nobody(self) -> None:
        pytest.importorskip("h5py")
        with pytest.raises(LoadError, match=r"got activation='relu', the file says 'softsign'"):
            lstmcore.load(FOLDER / "keras2_hard.h5", activation="relu")

    def test_torch_has_no_other_activation(self) -> None:
        with pytest.raises(LoadError, match=r"got activation='relu', the file says 'tanh'"):
            lstmcore.load(FOLDER / "torch_zip.pt", activation="relu")

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"activation": "gelu"}, "activation must be one with a fused kernel"),
            ({"recurrent_activation": "tanh"}, "recurrent_activation must be one of"),
            ({"cell_clip": -1.0}, "cell_clip must be above 0"),
            ({"dtype": "float16"}, "dtype"),
            ({"dtype": "int32"}, "dtype"),
        ],
    )
    def test_bad_options(self, arguments: dict[str, Any], message: str) -> None:
        with pytest.raises((TypeError, ValueError), match=message):
            lstmcore.load(FOLDER / "torch_zip.pt", **arguments)

    def test_clips_reach_every_cell(self) -> None:
        model = reference_input("tf_frozen.pb", cell_clip=0.2, proj_clip=0.1)
        specs = [cell.spec for layer in model.layers for _, cell in layer.cells]
        assert [(s.cell_clip, s.proj_clip) for s in specs] == [(0.2, 0.1), (0.2, None)]

    def test_hard_sigmoid_needs_the_version(self, tmp_path: Path) -> None:
        h5py = pytest.importorskip("h5py")
        path = tmp_path / "model.h5"
        path.write_bytes((FOLDER / "keras2_hard.h5").read_bytes())
        with h5py.File(path, "a") as file:
            del file.attrs["keras_version"]
            del file["model_weights"].attrs["keras_version"]
        with pytest.raises(LoadError, match=r"0\.2 x \+ 0\.5 in Keras 2 and x / 6"):
            lstmcore.load(path)

    def test_cudnn_layout_is_noted(self) -> None:
        pytest.importorskip("h5py")
        path = FOLDER / "keras2_cudnn_weights.h5"
        done = loading.load_explained(path, None, building.Choices(), [])
        assert any("CuDNN's layout" in note for note in done.notes)
        assert done.difference is not None
        assert done.difference < 1e-12

    def test_dtype(self) -> None:
        narrow, wide = (reference_input("torch_zip.pt", dtype=d) for d in ("float32", "float64"))
        assert (narrow.dtype, wide.dtype) == (np.float32, np.float64)
        x = BY_FILE["torch_zip.pt"].values["x"]
        assert np.abs(narrow(x) - wide(x.astype(np.float64))).max() < 1e-6


def _state(input_size: int, units: int, prefix: str = "") -> dict[str, np.ndarray]:
    random = np.random.default_rng(5)
    shapes = {
        "weight_ih_l0": (4 * units, input_size),
        "weight_hh_l0": (4 * units, units),
        "bias_ih_l0": (4 * units,),
        "bias_hh_l0": (4 * units,),
    }
    return {
        prefix + name: random.normal(0, 0.4, shape).astype(np.float32)
        for name, shape in shapes.items()
    }


class TestStateDicts:
    def test_in_memory(self) -> None:
        model = lstmcore.load(OrderedDict(_state(5, 7, "rnn.")), scope="rnn")
        assert (model.input_size, model.output_size) == (5, 7)

    def test_values_that_are_no_arrays_are_left_out(self) -> None:
        assert lstmcore.load({**_state(5, 7), "steps": 12}).num_layers == 1

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"weight_hh_l0": np.zeros((21, 7), np.float32)}, "no LSTM in this file"),  # a GRU
            ({"weight_hh_l0": np.zeros((28, 6), np.float32)}, "no four gates of 6 units"),
            ({"weight_ih_l0": np.zeros((24, 5), np.float32)}, r"weight_ih has shape \(24, 5\)"),
            ({"bias_hh_l0": np.zeros(27, np.float32)}, r"needs \(28,\)"),
            ({"bias_hh_l0": None}, "of bias_ih and bias_hh only bias_ih"),
            ({"weight_hh_l0": None}, "has no weight_hh"),
            ({"weight_ih_l0": np.zeros((28, 5), np.int32)}, "expected floating point, got int32"),
            ({"weight_ih_l2": np.zeros((28, 7), np.float32)}, "layer 1 is missing"),
            ({"weight_ih_l0_reverse": np.zeros((28, 5), np.float32)}, "has no weight_hh"),
        ],
    )
    def test_broken(self, change: dict[str, Any], message: str) -> None:
        state = {k: v for k, v in {**_state(5, 7), **change}.items() if v is not None}
        with pytest.raises(LoadError, match=message):
            lstmcore.load(state)

    def test_nan_weights_load_as_they_are(self) -> None:
        state = _state(5, 7)
        state["weight_ih_l0"][3, 2] = np.nan
        assert np.isnan(lstmcore.load(state).weights["layers.0.forward.kernel"]).sum() == 1


CHECKPOINTS = sorted((FOLDER.parent / "checkpoint").rglob("*.index"))


@pytest.mark.parametrize("index", CHECKPOINTS, ids=lambda path: path.stem)
def test_tensorflow_checkpoints_of_the_cells(index: Path) -> None:
    """Each opens, or is refused with a reason."""
    path = str(index)[: -len(".index")]
    problems = [model.problem for model in open_source(path).models]
    if not problems or any(problems):
        with pytest.raises(LoadError, match=r"no LSTM|opaque|no layer"):
            lstmcore.open_models(path, forget_bias=1.0)
        return
    try:
        models = lstmcore.open_models(path, forget_bias=1.0)
    except LoadError as error:
        assert "forget_bias=1.0, but" in str(error)  # noqa: PT017 (of CudnnLSTM or Keras)
        models = lstmcore.open_models(path)
    for model in models.values():
        assert np.isfinite(model(np.ones((2, 3, model.input_size), model.dtype))).all()


@pytest.mark.parametrize(
    ("file", "package", "extra"),
    [
        ("torch_flavoured.safetensors", "safetensors", "safetensors"),
        ("keras3_stack.keras", "h5py", "keras"),
        ("onnx_reverse.onnx", "onnx", "onnx"),
    ],
)
def test_missing_packages_say_how_to_get_them(file: str, package: str, extra: str) -> None:
    code = (
        f"import sys; sys.modules[{package!r}] = None\n"
        "import lstmcore\n"
        f"try: lstmcore.load({str(FOLDER / file)!r})\n"
        "except lstmcore.MissingExtra as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert f'pip install "lstmcore[{extra}]"' in done.stdout


@pytest.mark.parametrize("value", [3, None, ["a"], b"\0bad"])
def test_what_is_no_file(value: Any) -> None:
    with pytest.raises((TypeError, LoadError)):
        lstmcore.load(value)


def test_sources_close(tmp_path: Path) -> None:
    target = tmp_path / "copy.pt"
    target.write_bytes((FOLDER / "torch_zip.pt").read_bytes())
    source = open_source(target)
    source.close()
    lstmcore.load(target)
    target.unlink()
