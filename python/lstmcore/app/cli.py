"""The command ``lstmcore``.

Exit codes: 0 done, 1 a check failed, 2 wrong use, 3 a file was refused or is broken, 4 an optional
package is missing; 130 interrupted, 141 the reader of the output went away (as shells report them).
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from lstmcore import _core
from lstmcore.app import model_commands

DONE, WRONG_USE, BAD_FILE, MISSING_EXTRA, INTERRUPTED, CLOSED_PIPE = 0, 2, 3, 4, 130, 141

_EPILOG = """\
exit codes: 0 done, 1 a check failed, 2 wrong use, 3 a file was refused or is
broken, 4 an optional package is missing
"""


def _length(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return int(text)


def _seed(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 0, got {text!r}")
    return int(text)


def _temperature(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"expected a number of at least 0, got {text!r}")
    return value


def _prompt(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("expected at least one character, got ''")
    return text


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lstmcore",
        description="LSTM models on the CPU, from the files of every framework.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"lstmcore {_core.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    demo = commands.add_parser(
        "demo",
        help="write text with a small LSTM, then print its speed on this machine",
        description="Write text, character by character, with a small LSTM that is part of the "
        "package; then print its speed, and the instruction set and threads in use.",
    )
    demo.add_argument(
        "--length",
        type=_length,
        default=600,
        metavar="N",
        help="characters to write before the sentence may end (default: %(default)s)",
    )
    demo.add_argument(
        "--seed",
        type=_seed,
        default=10,
        metavar="N",
        help="another seed writes another text (default: %(default)s)",
    )
    demo.add_argument(
        "--temperature",
        type=_temperature,
        default=0.5,
        metavar="T",
        help="0 repeats itself, 1 invents words (default: %(default)s)",
    )
    demo.add_argument(
        "--prompt",
        type=_prompt,
        default="It is a truth universally acknowledged, that a single cell in possession of "
        "a good memory, must",
        metavar="TEXT",
        help="how the text begins (default: %(default)r)",
    )
    demo.add_argument(
        "--model",
        type=Path,
        metavar="FILE",
        help="a model (.npz) of your own, made by examples/train_demo/train.py",
    )

    model_commands.add_parsers(commands)

    bench = commands.add_parser(
        "bench",
        help="compare with the engines that are installed beside it",
        description="Time LSTM steps and sequences side by side with NumPy, and with torch, "
        "onnxruntime (with onnx), openvino and tensorflow where this Python has them. Each is "
        "checked against float64 first. A few minutes; 30 seconds with --quick.",
    )
    bench.add_argument("--quick", action="store_true", help="six shapes, in less than 30 seconds")
    bench.add_argument(
        "--threads", type=_length, metavar="N", help="default: 1, and then all there are"
    )
    bench.add_argument("--json", type=Path, metavar="FILE", help="write every figure to FILE")

    info = commands.add_parser(
        "info",
        help="report version, build, CPU, instruction sets and threads",
        description="Report version, build, CPU, instruction sets and threads; paste it into bug "
        "reports.",
    )
    info.add_argument("--json", action="store_true", help="print JSON and nothing else")
    return parser


def _run_demo(arguments: argparse.Namespace) -> None:
    from lstmcore.app import character_model, demo

    demo.run(
        prompt=arguments.prompt,
        length=arguments.length,
        temperature=arguments.temperature,
        seed=arguments.seed,
        path=arguments.model or character_model.PACKAGED_MODEL,
    )


def _run_bench(arguments: argparse.Namespace) -> None:
    from lstmcore.app import bench

    bench.run(quick=arguments.quick, threads=arguments.threads, path=arguments.json)


def _run_info(arguments: argparse.Namespace) -> None:
    from lstmcore.app import info

    report = info.collect()
    print(info.as_json(report) if arguments.json else info.as_text(report))


def _fail(message: object, code: int) -> int:
    print(f"lstmcore: error: {message}", file=sys.stderr)
    return code


def _run(arguments: argparse.Namespace) -> int:
    from lstmcore.errors import LoadError, MissingExtra

    code = DONE
    try:
        if arguments.command in model_commands.NAMES:
            code = model_commands.run_command(arguments)
        else:
            own = {"bench": _run_bench, "demo": _run_demo, "info": _run_info}
            own[arguments.command](arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except MissingExtra as error:
        return _fail(error, MISSING_EXTRA)
    except FileExistsError as error:
        return _fail(error, WRONG_USE)
    except (LoadError, OSError) as error:
        return _fail(error, BAD_FILE)
    except (TypeError, ValueError, RuntimeError) as error:
        # A prompt the model cannot read; LSTMCORE_FORCE_ISA asking for what the CPU lacks.
        return _fail(error, WRONG_USE)
    return code


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (default: the process's own) and return the exit code."""
    try:
        try:
            arguments = _parser().parse_args(argv)
        finally:
            sys.stdout.flush()  # --help and --version print and exit
        return _run(arguments)
    except BrokenPipeError:
        # Python flushes standard output once more at exit; give it somewhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return CLOSED_PIPE
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return INTERRUPTED
