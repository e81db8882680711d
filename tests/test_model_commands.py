"""``lstmcore inspect``, ``convert``, ``run`` and ``verify``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lstmcore
from lstmcore.app import running, verifying
from lstmcore.app.cli import main
from model_files import FOLDER
from test_lstm_model import model_of

TORCH = str(FOLDER / "torch_zip.pt")


def called(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main([str(a) for a in arguments])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def reported(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    code, out, err = called(capsys, *arguments, "--json")
    assert (code, err) == (0, "")
    return json.loads(out)


@pytest.fixture
def x_file(tmp_path: Path) -> str:
    path = tmp_path / "x.npy"
    np.save(path, np.random.default_rng(0).normal(size=(3, 40, 5)).astype(np.float32))
    return str(path)


class TestInspect:
    def test_text(self, capsys: pytest.CaptureFixture[str]) -> None:
        code, out, _ = called(capsys, "inspect", FOLDER / "torch_training.pt")
        assert code == 0
        for part in ("encoder", "decoder", "5 -> 4", "PyTorch", "sigmoid, tanh", "embed.bias (5,)"):
            assert part in out
        assert "optimizer state" in out

    def test_forget_bias_that_must_be_stated(self, capsys: pytest.CaptureFixture[str]) -> None:
        _, out, _ = called(capsys, "inspect", FOLDER / "tf_frozen.pb")
        assert "must be stated" in out
        assert "peepholes" in out

    def test_json(self, capsys: pytest.CaptureFixture[str]) -> None:
        found = reported(capsys, "inspect", TORCH)
        assert set(found) >= {"file", "format", "models", "other_tensors", "foreign_tensors"}
        (model,) = found["models"]
        assert [(c["layer"], c["direction"]) for c in model["cells"]] == [
            (0, "forward"),
            (0, "backward"),
            (1, "forward"),
            (1, "backward"),
        ]
        assert model["cells"][0]["tensors"]["weight_ih"] == "weight_ih_l0"

    def test_headers_only(self, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        """Weights that are not there do not matter."""
        pytest.importorskip("safetensors")
        path = tmp_path / "m.safetensors"
        model_of("plain").save(path)
        data = bytearray(path.read_bytes())
        data[-4:] = b"\xff\xff\xff\xff"
        path.write_bytes(data)
        assert reported(capsys, "inspect", str(path))["format"] == "lstmcore safetensors"

    def test_no_lstm(self, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        numpy = pytest.importorskip("safetensors.numpy")
        numpy.save_file({"a": np.ones(3, np.float32)}, tmp_path / "a.safetensors")
        code, out, _ = called(capsys, "inspect", tmp_path / "a.safetensors")
        assert code == 0
        assert "no LSTM in this file" in out


class TestConvert:
    def test_mapping_and_check(self, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        pytest.importorskip("safetensors")
        target = tmp_path / "out.safetensors"
        code, out, _ = called(capsys, "convert", TORCH, target)
        assert code == 0
        assert "layers.1.backward.kernel" in out
        assert "weight_ih_l1_reverse + weight_hh_l1_reverse" in out
        assert "self-check" in out
        assert lstmcore.load(target).weights_equal(lstmcore.load(TORCH))
        code, out, _ = called(capsys, "convert", target, tmp_path / "again.safetensors")
        assert code == 0
        assert "SHA-256" in out
        assert "self-check" not in out

    def test_options(self, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        pytest.importorskip("onnx")
        target = tmp_path / "out.onnx"
        arguments = ("--scope", "model_state_dict.encoder", "--scope", "model_state_dict.decoder")
        done = reported(capsys, "convert", FOLDER / "torch_training.pt", target, *arguments)
        assert done["self_check"]["difference"] <= done["self_check"]["bound"]
        assert done["bytes"] == target.stat().st_size
        assert lstmcore.load(target).num_layers == 3

    def test_existing_targets_stay(
        self, capsys: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        pytest.importorskip("safetensors")
        target = tmp_path / "out.safetensors"
        target.write_text("mine")
        code, _, err = called(capsys, "convert", TORCH, target)
        assert (code, target.read_text()) == (2, "mine")
        assert "--force" in err
        assert called(capsys, "convert", TORCH, target, "--force")[0] == 0

    def test_forget_bias(self, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        pytest.importorskip("safetensors")
        frozen, target = FOLDER / "tf_frozen.pb", tmp_path / "out.safetensors"
        code, _, err = called(capsys, "convert", frozen, target)
        assert code == 3
        assert "forget_bias" in err
        assert not target.exists()
        arguments = ("--forget-bias", "1", "--dtype", "float64", "--cell-clip", "3")
        assert called(capsys, "convert", frozen, target, *arguments)[0] == 0
        model = lstmcore.load(target)
        assert model.dtype == np.float64
        assert model.layers[0].cells[0][1].spec.cell_clip == 3.0


class TestRun:
    def test_output(self, capsys: pytest.CaptureFixture[str], x_file: str, tmp_path: Path) -> None:
        output = tmp_path / "y.npz"
        code, out, _ = called(capsys, "run", TORCH, "--input", x_file, "--output", output)
        assert code == 0
        for part in ("3 x 40 steps x 5", "steps per second", "p50", "p99", "checksum"):
            assert part in out
        y, state = lstmcore.load(TORCH)(np.load(x_file), return_state=True)
        with np.load(output) as written:
            assert np.array_equal(written["outputs"], y)
            assert np.array_equal(written["c3"], state[3].c)

    def test_stream(self, capsys: pytest.CaptureFixture[str], x_file: str) -> None:
        model = FOLDER / "torch_projected.pth"
        done = reported(capsys, "run", model, "--input", x_file, "--stream", "7", "--repeat", "2")
        assert done["stream"]["agrees"] is True
        assert done["stream"]["latency_ms"].keys() == {"p50", "p95", "p99"}

    def test_a_stream_that_differs_fails(
        self, capsys: pytest.CaptureFixture[str], x_file: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Wrong(lstmcore.Stream):
            __slots__ = ()

            def push(self, chunk: Any) -> Any:
                return super().push(chunk) + np.float32(1e-6)

        monkeypatch.setattr(running, "Stream", Wrong)
        model = FOLDER / "torch_projected.pth"
        code, out, _ = called(capsys, "run", model, "--input", x_file, "--stream", "7")
        assert code == 1
        assert "DIFFERENT" in out

    def test_one_sequence(self, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        np.save(tmp_path / "x.npy", np.ones((4, 5)))
        done = reported(capsys, "run", TORCH, "--input", str(tmp_path / "x.npy"))
        assert done["outputs"] == [1, 4, 14]

    @pytest.mark.parametrize(
        ("value", "code", "message"),
        [
            (np.ones((2, 3, 4)), 2, r"input: expected numbers of shape (batch, time, 5)"),
            (np.array(["a"]), 2, "input: expected numbers"),
            (b"not numpy", 3, "cannot be read as a NumPy array"),
        ],
    )
    def test_bad_input(
        self,
        capsys: pytest.CaptureFixture[str],
        tmp_path: Path,
        value: Any,
        code: int,
        message: str,
    ) -> None:
        path = tmp_path / "x.npy"
        path.write_bytes(value) if isinstance(value, bytes) else np.save(path, value)
        got, _, err = called(capsys, "run", TORCH, "--input", str(path))
        assert got == code
        assert message in err

    def test_bidirectional_models_do_not_stream(
        self, capsys: pytest.CaptureFixture[str], x_file: str
    ) -> None:
        code, _, err = called(capsys, "run", TORCH, "--input", x_file, "--stream", "3")
        assert code == 2
        assert "runs backwards" in err


class TestVerify:
    @pytest.mark.parametrize("engine", sorted(verifying.ENGINES))
    def test_passes(self, capsys: pytest.CaptureFixture[str], engine: str) -> None:
        if engine != "numpy":
            pytest.importorskip({"tf": "tensorflow"}.get(engine, engine))
        done = reported(capsys, "verify", TORCH, "--against", engine)
        assert done["passed"] is True
        assert 0 < done["relative"] <= done["bound"]
        assert done["worst"]["gate"][0] in "ijfo"

    @pytest.mark.parametrize(
        "file", ["torch_projected.pth", "onnx_activations.onnx", "torch_float64.pt"]
    )
    def test_options_against_numpy(self, capsys: pytest.CaptureFixture[str], file: str) -> None:
        if file.endswith("onnx"):
            pytest.importorskip("onnx")
        assert reported(capsys, "verify", FOLDER / file)["passed"] is True

    def test_a_difference_fails(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def shifted(model: Any, x: Any) -> Any:
            y = verifying._numpy(model, x)
            y[1, 4, 2] += 1e-4
            return y

        monkeypatch.setitem(verifying.ENGINES, "numpy", shifted)
        code, out, _ = called(capsys, "verify", TORCH)
        assert code == 1
        assert "FAIL" in out
        assert "row 1, step 4, output 2" in out

    def test_missing_engine(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "torch", None)
        code, _, err = called(capsys, "verify", TORCH, "--against", "torch")
        assert code == 4
        assert 'pip install "lstmcore[torch]"' in err


@pytest.mark.parametrize("command", ["inspect", "convert", "run", "verify"])
def test_files_that_are_refused(
    capsys: pytest.CaptureFixture[str], command: str, tmp_path: Path
) -> None:
    path = tmp_path / "model.bin"
    path.write_text("nothing that is known")
    more = {"convert": [str(tmp_path / "o.onnx")], "run": ["--input", "x.npy"]}.get(command, [])
    code, out, err = called(capsys, command, str(path), *more)
    assert (code, out) == (3, "")
    assert err.startswith(f"lstmcore: error: {path}: not a format that is known here")


@pytest.mark.parametrize(
    "arguments",
    [
        ("convert", TORCH),
        ("run", TORCH),
        ("verify", TORCH, "--against", "nobody"),
        ("convert", TORCH, "x.onnx", "--forget-bias", "nan"),
        ("run", TORCH, "--input", "x", "--stream", "0"),
    ],
)
def test_wrong_use(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    assert ended.value.code == 2
    assert "usage" in capsys.readouterr().err
