"""Makes the environments of the engines that lstmcore is compared with.

    python bench/compare/setup_peers.py [--into build/peers]

``main`` has PyTorch, ONNX Runtime, OpenVINO, oneDNN and matplotlib; ``tensorflow`` has the last
TensorFlow that builds BasicLSTMCell (Python 3.11 or older). Both get this source tree's lstmcore.
Needs a C++ compiler and about 3 GB.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {
    "main": [
        # the CPU build; from https://download.pytorch.org/whl/cpu where the index has only CUDA's
        "torch==2.13.0",
        "onnxruntime==1.32.0",
        "onnx==1.23.2",
        "openvino==2026.4.1",
        "onednn-cpu-gomp==2023.2.0",
        "onednn-devel-cpu-gomp==2023.2.0",
        "matplotlib",
    ],
    "tensorflow": ["tensorflow-cpu==2.15.1"],
}


def run(*command: str | Path) -> None:
    subprocess.run([str(part) for part in command], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--into", type=Path, default=ROOT / "build" / "peers")
    into = parser.parse_args().into.resolve()
    for name, packages in PACKAGES.items():
        if name == "tensorflow" and sys.version_info >= (3, 12):
            print("TensorFlow 2.15 needs Python 3.11 or older: left out")
            continue
        venv.create(into / name, with_pip=True)
        pip = into / name / "bin" / "pip"
        run(pip, "install", "--quiet", *packages)
        run(pip, "install", "--quiet", "--force-reinstall", "--no-deps", ROOT)
    prefix = into / "main"
    source = Path(__file__).with_name("onednn_lstm.cpp")
    run(
        "c++", "-O2", "-std=c++17", "-shared", "-fPIC", f"-I{prefix}/include", source,
        "-o", into / "libonednn_lstm.so", f"-L{prefix}/lib", "-ldnnl", f"-Wl,-rpath,{prefix}/lib",
    )  # fmt: skip
    print(f"peers are in {into}")


if __name__ == "__main__":
    main()
