"""The commands on model files: ``inspect``, ``convert``, ``run`` and ``verify``."""

from __future__ import annotations

import argparse
import json
import math
from typing import Any

DONE, CHECK_FAILED = 0, 1
NAMES = ("inspect", "convert", "run", "verify")


def _finite(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"expected a number, got {text!r}")
    return value


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return int(text)


def add_parsers(commands: Any) -> None:
    """Adds the commands to the parser's subcommands."""
    inspect = commands.add_parser(
        "inspect",
        help="show the LSTM models in a file",
        description="Show the LSTM models in a file of any known format, and what else is in it; "
        "reads headers only, and runs nothing.",
    )
    inspect.add_argument("file", metavar="FILE", help="a model file, or a checkpoint's prefix")
    convert = commands.add_parser(
        "convert",
        help="convert a model file to .safetensors or .onnx",
        description="Convert an LSTM model of any known format to this package's .safetensors, or "
        "to .onnx; shows which tensor went where and checks the result against the source's own "
        "equations.",
    )
    convert.add_argument("file", metavar="FILE", help="a model file, or a checkpoint's prefix")
    convert.add_argument("target", metavar="OUT", help="ends in .safetensors or .onnx")
    _add_loading(convert)
    convert.add_argument("--force", action="store_true", help="replace OUT where it exists")
    run = commands.add_parser(
        "run",
        help="run a model over an .npy file",
        description="Run a model over the sequences in an .npy file, and report speed and latency.",
    )
    run.add_argument("file", metavar="MODEL", help="a model file, or a checkpoint's prefix")
    run.add_argument(
        "--input", required=True, metavar="X.npy", help="[batch, time, depth] or [time, depth]"
    )
    run.add_argument("--output", metavar="Y.npz", help="write outputs and final states to Y.npz")
    run.add_argument(
        "--stream",
        type=_count,
        metavar="N",
        help="also run it in chunks of N steps, and check that the outputs are the same bits",
    )
    run.add_argument(
        "--repeat", type=_count, default=5, metavar="N", help="timed calls (default: %(default)s)"
    )
    _add_loading(run)
    verify = commands.add_parser(
        "verify",
        help="compare a model with another engine",
        description="Run a model and another engine with the same weights on random inputs, and "
        "compare.",
    )
    verify.add_argument("file", metavar="MODEL", help="a model file, or a checkpoint's prefix")
    verify.add_argument(
        "--against",
        choices=("numpy", "torch", "onnxruntime", "tf"),
        default="numpy",
        help="default: %(default)s, the equations in float64",
    )
    _add_loading(verify)
    for command in (inspect, convert, run, verify):
        command.add_argument("--json", action="store_true", help="print JSON and nothing else")


def _add_loading(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--scope",
        action="append",
        metavar="NAME",
        help="which model of the file; several times: stacked in that order",
    )
    parser.add_argument(
        "--forget-bias",
        type=_finite,
        metavar="X",
        help="what TensorFlow's cells added to the forget gate (1.0 was their default)",
    )
    parser.add_argument("--activation", metavar="NAME", help="where the file does not say")
    parser.add_argument("--recurrent-activation", metavar="NAME", help="where it does not say")
    parser.add_argument("--cell-clip", type=_finite, metavar="X")
    parser.add_argument("--proj-clip", type=_finite, metavar="X")
    parser.add_argument("--dtype", choices=("float32", "float64"), help="default: the file's own")
    parser.add_argument(
        "--ignore", action="append", default=[], metavar="NAME", help="tensors left out on purpose"
    )


def run_command(arguments: argparse.Namespace) -> int:
    """Runs one of ``NAMES`` and prints its report; the exit code. Raises as the library does."""
    report, text, code = _RUN[arguments.command](arguments)
    print(json.dumps(report, indent=2, allow_nan=True) if arguments.json else text)
    return code


def _choices(arguments: argparse.Namespace) -> Any:
    from lstmcore.formats.building import Choices

    return Choices(
        arguments.forget_bias,
        arguments.activation,
        arguments.recurrent_activation,
        arguments.cell_clip,
        arguments.proj_clip,
        arguments.dtype,
    )


def _scope(arguments: argparse.Namespace) -> Any:
    names = arguments.scope
    return names[0] if names and len(names) == 1 else names


def _model(arguments: argparse.Namespace) -> Any:
    from lstmcore.formats.loading import load_explained

    chosen = _choices(arguments)
    return load_explained(arguments.file, _scope(arguments), chosen, arguments.ignore).model


_Done = tuple[dict[str, Any], str, int]


def _inspect(arguments: argparse.Namespace) -> _Done:
    from lstmcore.app import inspecting

    found = inspecting.report(arguments.file)
    return found, inspecting.as_text(found), DONE


def _convert(arguments: argparse.Namespace) -> _Done:
    from lstmcore.app import converting

    done = converting.convert(
        arguments.file,
        arguments.target,
        _scope(arguments),
        _choices(arguments),
        arguments.ignore,
        force=arguments.force,
    )
    return done, converting.as_text(done), DONE


def _run(arguments: argparse.Namespace) -> _Done:
    from lstmcore.app import running

    model = _model(arguments)
    x = running.read_input(arguments.input, model)
    done = running.run(model, x, arguments.output, arguments.stream, arguments.repeat)
    agrees = done.get("stream", {}).get("agrees", True)
    return done, running.as_text(done), DONE if agrees else CHECK_FAILED


def _verify(arguments: argparse.Namespace) -> _Done:
    from lstmcore.app import verifying

    done = verifying.verify(_model(arguments), arguments.against)
    return done, verifying.as_text(done), DONE if done["passed"] else CHECK_FAILED


_RUN = {"inspect": _inspect, "convert": _convert, "run": _run, "verify": _verify}
