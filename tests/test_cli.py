"""The command `lstmcore`, run as users run it: in a process of its own."""

from __future__ import annotations

import json
import os
import pty
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lstmcore import _core
from lstmcore.app.character_model import PACKAGED_MODEL

COMMAND = [sys.executable, "-m", "lstmcore"]
TIMEOUT = 60


def environment(**changes: str) -> dict[str, str]:
    """The test's own environment without what the command reacts to, then `changes`."""
    unwanted = ("NO_COLOR", "LSTMCORE_FORCE_ISA", "LSTMCORE_NUM_THREADS", "OMP_NUM_THREADS")
    kept = {name: value for name, value in os.environ.items() if name not in unwanted}
    return {**kept, **changes}


def lstmcore(*arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        capture_output=True,
        text=True,
        env=environment(**changes),
        timeout=TIMEOUT,
    )


def on_terminal(*arguments: str, **changes: str) -> str:
    """What the command writes when its standard output is a terminal."""
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, *arguments], stdout=terminal, env=environment(TERM="xterm", **changes)
    )
    os.close(terminal)
    written = b""
    try:
        while chunk := os.read(controller, 4096):
            written += chunk
    except OSError:  # Linux reports the end of a terminal as EIO
        pass
    os.close(controller)
    assert process.wait(TIMEOUT) == 0
    return written.decode()


@pytest.fixture(scope="module")
def demo() -> subprocess.CompletedProcess[str]:
    return lstmcore("demo", "--length", "300", "--prompt", "She had never")


def test_help_names_the_commands_and_loads_none_of_them() -> None:
    program = (
        "import sys\n"
        "from lstmcore.app.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit as end: assert end.code == 0\n"
        "assert 'lstmcore.app.demo' not in sys.modules and 'lstmcore.app.info' not in sys.modules\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=TIMEOUT
    )
    assert result.returncode == 0, result.stderr
    assert "demo" in result.stdout
    assert "info" in result.stdout
    assert "exit codes" in result.stdout


def test_version() -> None:
    result = lstmcore("--version")
    assert (result.returncode, result.stdout) == (0, f"lstmcore {_core.__version__}\n")


@pytest.mark.parametrize("arguments", [(), ("frobnicate",), ("info", "--yaml")])
def test_wrong_use_prints_the_usage_on_stderr(arguments: tuple[str, ...]) -> None:
    result = lstmcore(*arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert "usage: lstmcore" in result.stderr


def test_info_text() -> None:
    lowest = _core.info()["isa_found"][0]
    result = lstmcore("info", LSTMCORE_FORCE_ISA=lowest, OMP_NUM_THREADS="1")
    assert (result.returncode, result.stderr) == (0, "")
    assert re.search(rf"^lstmcore +{re.escape(_core.__version__)}$", result.stdout, re.MULTILINE)
    assert f"{lowest} (forced by LSTMCORE_FORCE_ISA)" in result.stdout
    assert "1 (OMP_NUM_THREADS)" in result.stdout
    assert np.__version__ in result.stdout


def test_info_json_is_json_with_the_promised_keys_and_nothing_else() -> None:
    result = lstmcore("info", "--json")
    assert (result.returncode, result.stderr) == (0, "")
    report = json.loads(result.stdout)
    assert {name: sorted(part) for name, part in report.items() if isinstance(part, dict)} == {
        "build": ["compiler", "isa_baseline", "isa_compiled"],
        "cpu": ["isa", "isa_error", "isa_forced", "isa_found", "name"],
        "threads": ["number", "reason"],
        "gpu": ["devices", "why_not"],
        "memory": ["workspace_bytes"],
        "optional_packages": ["h5py", "onnx", "rich", "safetensors"],
    }
    plain = {"lstmcore", "python", "numpy", "platform", "readers"}
    assert {name for name, part in report.items() if not isinstance(part, dict)} == plain
    assert report["cpu"]["isa"] in report["cpu"]["isa_found"]
    assert report["cpu"]["isa_forced"] is False
    assert report["threads"]["number"] >= 1


def test_info_reports_an_isa_that_is_not_there() -> None:
    result = lstmcore("info", "--json", LSTMCORE_FORCE_ISA="mmx")
    assert (result.returncode, result.stderr) == (0, "")
    cpu = json.loads(result.stdout)["cpu"]
    assert cpu["isa"] is None
    assert "LSTMCORE_FORCE_ISA=mmx" in cpu["isa_error"]


def test_an_isa_that_is_not_there_is_wrong_use() -> None:
    result = lstmcore("demo", LSTMCORE_FORCE_ISA="mmx")
    assert (result.returncode, result.stdout) == (2, "")
    assert "LSTMCORE_FORCE_ISA=mmx" in result.stderr
    assert "Traceback" not in result.stderr


def test_demo_writes_text_and_reports(demo: subprocess.CompletedProcess[str]) -> None:
    assert (demo.returncode, demo.stderr) == (0, "")
    heading, text, machine, following = demo.stdout.split("\n\n")
    assert "Jane Austen" in heading
    assert text.startswith("She had never")
    assert 300 <= len(text) - len("She had never") <= 520
    assert text[-1] in ".!?"
    assert max(map(len, text.splitlines())) <= 80
    speed = re.search(r"speed +([\d,]+) LSTM steps per second", machine)
    assert speed is not None
    assert int(speed[1].replace(",", "")) > 100
    assert _core.info()["isa_found"][-1] in machine
    assert re.search(r"threads +\d+ busy of \d+", machine)
    assert len(following.splitlines()) == 4


def test_the_commands_that_demo_suggests_work(demo: subprocess.CompletedProcess[str]) -> None:
    programs = {"lstmcore": COMMAND, "python": [sys.executable]}
    for line in demo.stdout.split("Try next\n")[1].splitlines():
        program, *arguments = shlex.split(line)
        result = subprocess.run(
            [*programs[program], *arguments],
            capture_output=True,
            text=True,
            env=environment(),
            timeout=TIMEOUT,
        )
        assert result.returncode == 0, f"{line}\n{result.stderr}"
        assert result.stdout.strip()


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--length", "0"),
        ("--length", "many"),
        ("--seed", "-1"),
        ("--temperature", "-0.5"),
        ("--temperature", "nan"),
        ("--prompt", ""),
    ],
)
def test_demo_refuses_bad_options(option: str, value: str) -> None:
    result = lstmcore("demo", f"{option}={value}")
    assert (result.returncode, result.stdout) == (2, "")
    assert f"argument {option}: expected" in result.stderr
    assert f"got {value!r}" in result.stderr


def test_demo_names_a_character_the_model_does_not_know() -> None:
    result = lstmcore("demo", "--prompt", "caf\u00e9")
    assert (result.returncode, result.stdout) == (2, "")
    assert "'\u00e9'" in result.stderr


def test_a_bad_model_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.npz").write_text("not a model")
    (tmp_path / "cut.npz").write_bytes(PACKAGED_MODEL.read_bytes()[:5000])
    np.savez(tmp_path / "other.npz", kernel=np.ones((3, 4), np.float32))
    with np.load(PACKAGED_MODEL) as packaged:
        arrays = dict(packaged)
    np.savez(tmp_path / "shapes.npz", **{**arrays, "bias": arrays["bias"][:-4]})
    np.savez(tmp_path / "pickle.npz", **{**arrays, "bias": np.array([{}], object)})
    for name in ("text", "cut", "other", "shapes", "pickle", "missing"):
        result = lstmcore("demo", "--model", str(tmp_path / f"{name}.npz"))
        assert (result.returncode, result.stdout) == (3, ""), name
        assert f"{name}.npz" in result.stderr
        assert "Traceback" not in result.stderr


def test_bold_headings_only_with_rich_on_a_terminal_without_no_color(tmp_path: Path) -> None:
    console = (
        "class Console:\n"
        "    def __init__(self, **options): pass\n"
        "    def print(self, text, style): print(f'\\x1b[{style}]{text}')\n"
    )
    (tmp_path / "rich").mkdir()
    (tmp_path / "rich" / "__init__.py").touch()
    (tmp_path / "rich" / "console.py").write_text(console)
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    short = ("demo", "--length", "1")
    assert on_terminal(*short, PYTHONPATH=path).count("\x1b[bold]") == 3
    assert "\x1b" not in on_terminal(*short, PYTHONPATH=path, NO_COLOR="1")
    assert "\x1b" not in lstmcore(*short, PYTHONPATH=path).stdout


def test_a_closed_pipe_ends_the_demo_quietly() -> None:
    process = subprocess.Popen(
        [*COMMAND, "demo", "--length", "1000000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    )
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.read(200)
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(TIMEOUT) == 141


def test_control_c_ends_the_demo_without_a_traceback() -> None:
    # A test run in the background may have SIGINT ignored, which the child would inherit.
    program = (
        "import signal, sys\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from lstmcore.app.cli import main\n"
        "sys.exit(main(['demo', '--length', '1000000']))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    )
    assert process.stdout is not None
    assert process.stdout.read(200)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 130
    assert errors.strip() == b""
