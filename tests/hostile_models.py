"""Model files that nobody should trust, made on the spot: what may be wrong with each format.

``corpus()`` gives each file's name, its bytes, and what the error has to say. Nothing here is
stored: the builders are the documentation of what is attacked.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from model_files import FOLDER


class Hostile(NamedTuple):
    name: str
    data: bytes
    message: str
    needs: str | None = None
    unsafe: bool = False


def torch_zip(content: bytes, storages: dict[str, bytes], **changes: Any) -> bytes:
    """A torch.save archive; ``changes`` are further entries by name."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", changes.pop("compression", zipfile.ZIP_STORED)) as archive:
        archive.writestr("m/data.pkl", content)
        for key, data in storages.items():
            archive.writestr(f"m/data/{key}", data)
        for name, data in changes.items():
            archive.writestr(f"m/{name}", data)
    return file.getvalue()


class _Call:
    """Pickles as a call of a named function."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def named_call(module: str, name: str, argument: bytes = b"") -> bytes:
    """A pickle that calls ``module.name(argument)``, whether or not that exists here."""
    text = f"c{module}\n{name}\n".encode()
    return b"\x80\x02" + text + b"(X" + struct.pack("<I", len(argument)) + argument + b"tR."


def tensor_pickle(
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    *,
    offset: int = 0,
    size: int = 4,
    storage: str = "FloatStorage",
    key: str = "0",
) -> bytes:
    """A state_dict of one tensor, as torch.save writes it, with any numbers."""

    def integer(value: int) -> bytes:
        return b"\x8a\x09" + value.to_bytes(9, "little", signed=True)

    def tuple_of(values: tuple[int, ...]) -> bytes:
        return b"(" + b"".join(map(integer, values)) + b"t"

    def text(value: str) -> bytes:
        return b"X" + struct.pack("<I", len(value)) + value.encode()

    pid = b"(" + text("storage") + f"ctorch\n{storage}\n".encode() + text(key) + text("cpu")
    pid += integer(size) + b"tQ"
    call = b"ctorch._utils\n_rebuild_tensor_v2\n(" + pid + integer(offset)
    call += tuple_of(shape) + tuple_of(strides) + b"\x89ccollections\nOrderedDict\n)RtR"
    return b"\x80\x02}" + text("weight_ih_l0") + call + b"s."


def _pickles() -> Iterator[Hostile]:
    attacks = {
        "os.system": named_call("os", "system", b"touch /tmp/lstmcore-was-here"),
        "builtins.eval": named_call("builtins", "eval", b"1"),
        "builtins.getattr": named_call("builtins", "getattr", b"1"),
        "torch.load": named_call("torch", "load", b"x"),
        "torch.hub.load": named_call("torch.hub", "load", b"x"),
        "torch._utils._rebuild_device_tensor_from_numpy": named_call(
            "torch._utils", "_rebuild_device_tensor_from_numpy", b"x"
        ),
        "collections.Counter": named_call("collections", "Counter", b"x"),
        "lstmcore.load": named_call("lstmcore", "load", b"x"),
        "numpy.core.multiarray._reconstruct": named_call(
            "numpy.core.multiarray", "_reconstruct", b"x"
        ),
        "__main__.Net": named_call("__main__", "Net", b"x"),
    }
    for asked, data in attacks.items():
        message = f"asks for {asked}; refused"
        yield Hostile(f"torch calls {asked}", torch_zip(data, {}), message, unsafe=True)
    stream = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + named_call("os", "system", b"true")
    yield Hostile("stream calls os.system", stream, "asks for os.system", unsafe=True)
    protocol4 = pickle.dumps(_Call(os.getcwd), 4)
    yield Hostile("torch by STACK_GLOBAL", torch_zip(protocol4, {}), "refused", unsafe=True)
    instance = b"(ios\nsystem\n."
    yield Hostile("torch by INST", torch_zip(instance, {}), "refused", unsafe=True)
    extension = b"\x80\x02\x82\x01."
    yield Hostile("torch by EXT1", torch_zip(extension, {}), "extension registry", unsafe=True)
    huge_array = b"\x80\x05\x96" + struct.pack("<Q", 1 << 50) + b"."
    yield Hostile("torch of a terabyte bytearray", torch_zip(huge_array, {}), "pickle")
    memo = b"\x80\x02}r" + struct.pack("<I", (1 << 31) - 1) + b"."
    yield Hostile(
        "torch with a memo of 2**31", torch_zip(memo, {}), "numbers an object", unsafe=True
    )
    deep = b"\x80\x02" + b"(" * 100_000 + b"t" * 100_000 + b"."
    yield Hostile("torch nested 100 000 deep", torch_zip(deep, {}), "holds tuple")
    digits = b"I" + b"9" * 100_000 + b"\n."
    yield Hostile("torch with 100 000 digits", torch_zip(digits, {}), "broken pickle")
    laughs = b"\x80\x02]q\x00" + b"".join(
        b"]q%c(" % (k + 1) + b"h%c" % k * 10 + b"e" for k in range(60)
    )
    laughs += b"}q\x64X\x01\x00\x00\x00ah\x3cs."
    yield Hostile("torch of a billion lists", torch_zip(laughs, {}), "more than 32 deep")
    ordered = b"\x80\x02ccollections\nOrderedDict\n(]tR."
    yield Hostile("torch OrderedDict of arguments", torch_zip(ordered, {}), "OrderedDict")
    yield Hostile("torch of a number", torch_zip(pickle.dumps(3, 2), {}), "expected a state_dict")
    yield Hostile(
        "torch cut short", torch_zip(tensor_pickle((4,), (1,))[:-20], {}), "broken pickle"
    )


def _tensors() -> Iterator[Hostile]:
    data = {"0": np.ones(4, np.float32).tobytes()}
    cases: dict[str, tuple[bytes, str]] = {
        "terabytes by strides of 0": (tensor_pickle((1 << 20, 1 << 18), (0, 0)), "weight_ih"),
        "gigabytes by size": (
            tensor_pickle((4, 1 << 28), (1 << 28, 1), size=1 << 30),
            "truncated",
        ),
        "reads before its storage": (tensor_pickle((4,), (-1,)), "in no way that is known"),
        "reads behind its storage": (
            tensor_pickle((4, 1), (1, 1), offset=1),
            "outside its storage",
        ),
        "negative shape": (tensor_pickle((-4,), (1,)), "in no way that is known"),
        "rank 40": (tensor_pickle((1,) * 40, (1,) * 40), "in no way that is known"),
        "other ranks": (tensor_pickle((2, 2), (1,)), "in no way that is known"),
        "storage that is not there": (tensor_pickle((4, 1), (1, 1), key="../0"), "missing"),
        "integers": (tensor_pickle((4, 1), (1, 1), storage="IntStorage"), "got int32"),
        "negative storage": (tensor_pickle((4,), (1,), size=-4), "no storage"),
    }
    for name, (content, message) in cases.items():
        # One tensor is no LSTM: so a second file has the rest of one around it.
        yield Hostile(f"torch tensor {name}", torch_zip(_with_rest(content), data), message)
    compressed = torch_zip(tensor_pickle((4,), (1,)), data, compression=zipfile.ZIP_DEFLATED)
    yield Hostile("torch compressed", compressed, "compressed, which torch.save never does")
    big = torch_zip(tensor_pickle((4,), (1,)), data, byteorder=b"big")
    yield Hostile("torch big-endian", big, "big-endian")
    two = torch_zip(tensor_pickle((4,), (1,)), {}, **{"x/data.pkl": b"."})
    yield Hostile("torch with two pickles", two, "expected one data.pkl")


def _with_rest(content: bytes) -> bytes:
    """The dict of ``content`` with a second tensor, so that it reads as one layer of an LSTM."""
    other = tensor_pickle((4, 1), (1, 1))
    item = other[len(b"\x80\x02}") : -2].replace(b"weight_ih_l0", b"weight_hh_l0")
    return content[:-1] + item + b"s."


def _safetensors() -> Iterator[Hostile]:
    def file(header: bytes, data: bytes = b"", length: int | None = None) -> bytes:
        return struct.pack("<Q", len(header) if length is None else length) + header + data

    def tensor(shape: list[int], end: int, kind: str = "F32") -> bytes:
        entry = {"dtype": kind, "shape": shape, "data_offsets": [0, end]}
        return json.dumps({"weight_ih_l0": entry}).encode()

    cases = {
        "header of a terabyte": file(b"{}", length=1 << 40),
        "header that is longer": file(b"{}", length=3),
        "no JSON": file(b"{no"),
        "deeply nested": file(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
        "terabytes declared": file(tensor([1 << 20, 1 << 20], 1 << 42), b"\0" * 16),
        "more data than shape": file(tensor([2], 16), b"\0" * 16),
        "negative shape": file(tensor([-4], 16), b"\0" * 16),
        "overflowing shape": file(tensor([1 << 62, 8], 16), b"\0" * 16),
        "unknown type": file(tensor([4], 16, "Q4"), b"\0" * 16),
        "cut short": (FOLDER / "torch_flavoured.safetensors").read_bytes()[:-100],
    }
    for name, data in cases.items():
        yield Hostile(f"safetensors {name}", data, "safetensors", "safetensors")


def canonical(change: Callable[[dict[str, Any]], None], **metadata: str) -> bytes:
    """A file of the package's own with a changed description."""
    import safetensors.numpy

    spec = {"input_size": 2, "num_units": 3}
    content = {"version": 1, "layers": [{"forward": spec}]}
    change(content)
    weights = {
        "layers.0.forward.kernel": np.ones((5, 12), np.float32),
        "layers.0.forward.bias": np.ones(12, np.float32),
    }
    data: bytes = safetensors.numpy.save(weights, {"lstmcore": json.dumps(content), **metadata})
    return data


def _canonical() -> Iterator[Hostile]:
    try:
        import safetensors.numpy
    except ImportError:
        return
    del safetensors

    def spec(**fields: Any) -> Callable[[dict[str, Any]], None]:
        return lambda content: content["layers"][0]["forward"].update(fields)

    cases: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
        "without hash": (lambda content: None, "SHA-256"),
        "of another version": (lambda content: content.update(version=2), "form 2"),
        "without layers": (lambda content: content.update(layers=[]), "makes no model"),
        "of other sizes": (spec(num_units=4), "expected"),
        "of units without end": (spec(num_units=1 << 62), "num_units must be"),
        "of odd fields": (spec(code="os.system"), "makes no model"),
        "with an unknown activation": (spec(activation="gelu"), "activation must be"),
        "with a peephole too many": (spec(use_peepholes=True), "does not fit its tensors"),
        "with an odd direction": (
            lambda content: content["layers"][0].update(up=content["layers"][0]["forward"]),
            "makes no model",
        ),
        "of text": (lambda content: content.update(layers="abc"), "makes no model"),
    }
    for name, (change, message) in cases.items():
        yield Hostile(f"canonical {name}", canonical(change), message, "safetensors")


def _zips() -> Iterator[Hostile]:
    def keras(config: bytes, weights: bytes, compression: int = zipfile.ZIP_DEFLATED) -> bytes:
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", compression) as archive:
            archive.writestr("config.json", config)
            archive.writestr("metadata.json", b"{}")
            archive.writestr("model.weights.h5", weights)
        return file.getvalue()

    config = b'{"class_name": "Sequential", "config": {"layers": []}}'
    nested = b'{"config": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    with zipfile.ZipFile(FOLDER / "keras3_hard.keras") as archive:
        weights = archive.read("model.weights.h5")
    yield Hostile("keras bomb", keras(config, b"\0" * (64 << 20)), "would unpack to", "h5py")
    yield Hostile("keras config bomb", keras(b" " * (64 << 20), weights), "would unpack", "h5py")
    yield Hostile(
        "keras nested config", keras(nested, weights, zipfile.ZIP_STORED), "no JSON", "h5py"
    )
    yield Hostile("keras config of text", keras(b"[1]", weights), "describes no model", "h5py")
    yield Hostile("keras broken weights", keras(config, b"\x89HDF"), "broken HDF5", "h5py")
    whole = (FOLDER / "torch_zip.pt").read_bytes()
    yield Hostile("zip cut short", whole[: len(whole) // 2], "broken zip")
    script = torch_zip(b"\x80\x02}.", {}, **{"code/__torch__.py": b"", "constants.pkl": b""})
    yield Hostile("TorchScript", script, "a TorchScript program")
    file = io.BytesIO()
    np.savez(file, a=np.ones(3))
    yield Hostile("npz", file.getvalue(), "a NumPy .npz archive")


def _hdf5() -> Iterator[Hostile]:
    try:
        import h5py
    except ImportError:
        return

    def made(fill: Callable[[Any], None]) -> bytes:
        file = io.BytesIO()
        with h5py.File(file, "w") as root:
            fill(root)
        return file.getvalue()

    def outside(root: Any) -> None:
        root["lstm/kernel:0"] = h5py.ExternalLink("/etc/passwd", "/")

    def soft(root: Any) -> None:
        root["lstm"] = h5py.SoftLink("/lstm")

    def external(root: Any) -> None:
        root.create_dataset("lstm/kernel:0", (8, 4), "f4", external=[("/etc/passwd", 0, 128)])

    def virtual(root: Any) -> None:
        layout = h5py.VirtualLayout((8, 4), "f4")
        layout[:] = h5py.VirtualSource("/etc/passwd", "x", (8, 4))
        root.create_virtual_dataset("lstm/kernel:0", layout)

    def declared(root: Any) -> None:
        root.create_dataset("a/kernel:0", (1 << 20, 1 << 18), "f4", chunks=(1024, 1024))
        root.create_dataset("a/recurrent_kernel:0", (1 << 16, 1 << 18), "f4", chunks=(1024, 1024))

    def bomb(root: Any) -> None:
        zeros = np.zeros((1 << 10, 1 << 12), "f4")
        for name in ("kernel:0", "recurrent_kernel:0"):
            root.create_dataset(f"a/{name}", data=zeros, compression="gzip", compression_opts=9)

    def hidden(root: Any) -> None:
        root.create_group("lstm")
        root["lstm/again"] = root["lstm"]

    def integers(root: Any) -> None:
        root["a/kernel:0"] = np.ones((2, 12), "i4")
        root["a/recurrent_kernel:0"] = np.ones((3, 12), "i4")

    cases: dict[str, tuple[Callable[[Any], None], str, bool]] = {
        "external link": (outside, "link to elsewhere", True),
        "soft link": (soft, "link to elsewhere", True),
        "external data": (external, "in other files", True),
        "virtual data": (virtual, "in other files", True),
        "terabytes declared": (declared, "would take", False),
        "compression bomb": (bomb, "would take", False),
        "group in itself": (hidden, "inside itself", False),
        "integers": (integers, "expected floating point", False),
    }
    for name, (fill, message, unsafe) in cases.items():
        yield Hostile(f"hdf5 {name}", made(fill), message, "h5py", unsafe)
    whole = (FOLDER / "keras2_stack.h5").read_bytes()
    yield Hostile("hdf5 cut short", whole[: len(whole) // 2], "HDF5", "h5py")


def _onnx() -> Iterator[Hostile]:
    try:
        import onnx
        from onnx import TensorProto, helper, numpy_helper
    except ImportError:
        return

    def lstm(weights: Any, nodes: Sequence[Any] = (), **attributes: Any) -> bytes:
        recurrent = numpy_helper.from_array(np.ones((1, 12, 3), np.float32), "R")
        node = helper.make_node("LSTM", ["X", "W", "R"], ["Y"], name="rnn", **attributes)
        x = helper.make_tensor_value_info("X", TensorProto.FLOAT, [None, None, 2])
        given = [weights] if weights is not None else []
        graph = helper.make_graph([*nodes, node], "g", [x], [], [*given, recurrent])
        return bytes(helper.make_model(graph).SerializeToString())

    plain = numpy_helper.from_array(np.ones((1, 12, 2), np.float32), "W")

    def external(location: str, length: int = 96) -> Any:
        tensor = TensorProto(name="W", data_type=TensorProto.FLOAT, dims=[1, 12, 2])
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", location), ("offset", "0"), ("length", str(length))):
            tensor.external_data.add(key=key, value=value)
        return tensor

    huge = TensorProto(name="W", data_type=TensorProto.FLOAT, dims=[1 << 20, 1 << 20, 2])
    computed = [helper.make_node("Relu", ["X"], ["W"])]
    cases: dict[str, tuple[bytes, str, bool]] = {
        "path traversal": (lstm(external("../../../etc/passwd")), "outside the model's", True),
        "absolute path": (lstm(external("/etc/passwd")), "outside the model's", True),
        "external file that is not there": (lstm(external("w.bin")), "no file there", False),
        "external of other length": (lstm(external("w.bin", 5)), "W", False),
        "terabytes declared": (lstm(huge), "tensor 'W'", False),
        "computed weights": (lstm(None, computed), "computed by the graph", False),
        "clip": (lstm(plain, clip=3.0), "clip=3.0", False),
        "coupled gates": (lstm(plain, input_forget=1), "input_forget=1", False),
        "unknown activation": (
            lstm(plain, activations=["Sigmoid", "Softplus", "Softplus"]),
            "activation Softplus",
            False,
        ),
        "two activations": (
            lstm(plain, activations=["Sigmoid", "Tanh", "Relu"]),
            "different activations",
            False,
        ),
        "unknown attribute": (lstm(plain, magic=1), "unknown attributes: magic", False),
        "directions that are not there": (
            lstm(plain, direction="bidirectional"),
            "expected 2 directions",
            False,
        ),
        "garbage": (b"\x08\x07" + bytes(range(256)) * 4, "no ONNX model", False),
    }
    del onnx
    for name, (data, message, unsafe) in cases.items():
        yield Hostile(f"onnx {name}", data, message, "onnx", unsafe)


def _graphs() -> Iterator[Hostile]:
    def field(tag: int, data: bytes) -> bytes:
        size, out = len(data), b""
        while True:
            out += bytes([size & 0x7F | (0x80 if size > 0x7F else 0)])
            size >>= 7
            if not size:
                return bytes([tag << 3 | 2]) + out + data

    def node(shape: list[int], content: bytes, dtype: int = 1) -> bytes:
        axes = b"".join(field(2, b"\x08" + _varint(size)) for size in shape)
        tensor = b"\x08" + bytes([dtype]) + field(2, axes) + field(4, content)
        value = field(1, b"value") + field(2, field(8, tensor))
        return field(1, field(1, b"rnn/kernel") + field(2, b"Const") + field(5, value))

    whole = (FOLDER / "tf_frozen.pb").read_bytes()
    yield Hostile("graph cut short", whole[:-100], "a field of")
    yield Hostile("graph of terabytes", node([1 << 39, 4], b"\0" * 16), "no LSTM")
    yield Hostile("graph of an impossible shape", node([1 << 50], b""), "cannot be")
    yield Hostile("graph of an unknown type", node([4], b"\0" * 16, 99), "dtype code 99")
    yield Hostile("graph of newlines", b"\n" * 1000, "a field of 10 bytes")


def _varint(value: int) -> bytes:
    out = b""
    while True:
        out += bytes([value & 0x7F | (0x80 if value > 0x7F else 0)])
        value >>= 7
        if not value:
            return out


def _others() -> Iterator[Hostile]:
    yield Hostile("empty", b"", "the file is empty")
    yield Hostile("text", b"hello world", "not a format that is known here")
    yield Hostile("tar", b"\0" * 257 + b"ustar" + b"\0" * 300, "a tar archive")
    yield Hostile("tflite", b"\x1c\0\0\0TFL3" + b"\0" * 64, "TensorFlow Lite")
    yield Hostile("plain pickle", pickle.dumps(OrderedDict(a=1)), "a Python pickle")
    yield Hostile("npy", b"\x93NUMPY\x01\x00" + b"\0" * 60, "a NumPy array")


def corpus() -> list[Hostile]:
    parts = (
        _pickles, _tensors, _safetensors, _canonical, _zips, _hdf5, _onnx, _graphs, _others
    )  # fmt: skip
    return [hostile for part in parts for hostile in part()]
