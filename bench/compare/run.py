"""Measures lstmcore and its peers in one run, and writes what the documentation shows.

    python bench/compare/setup_peers.py
    build/peers/main/bin/python bench/compare/run.py --name NAME

About 12 minutes alone on a machine; nothing else should run. Writes bench/results/NAME.json,
docs/benchmarks.md and docs/images/benchmark_*.png; ``--report FILE`` only writes the latter two
from such a file.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import charts
import document
import extras

from lstmcore import _core
from lstmcore.app import info
from lstmcore.benchmark import cases, measure

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent


def commands(peers: Path, chosen: list[str] | None) -> measure.Commands:
    """How to start each engine that the environments have."""
    main, tensorflow = (str(peers / name / "bin" / "python") for name in ("main", "tensorflow"))
    module = ["-m", "lstmcore.benchmark.worker"]
    found: dict[str, Any] = {
        name: ([main, *module], {})
        for name in ("lstmcore", "numpy", "torch", "onnxruntime", "openvino")
    }
    if Path(tensorflow).exists():
        found["tensorflow"] = ([tensorflow, *module], {})
    library = peers / "libonednn_lstm.so"
    if library.exists():
        found["onednn"] = (
            [main, str(HERE / "onednn_worker.py")],
            {"ONEDNN_LSTM": str(library)},
        )
    return {n: c for n, c in found.items() if chosen is None or n in chosen}


def ceilings(threads: list[int]) -> dict[int, Any]:
    """Compiles and runs ``ceilings.cpp``."""
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "ceilings"
        flags = ["-O3", "-march=native", "-ffast-math", "-fopenmp"]
        subprocess.run(["c++", *flags, HERE / "ceilings.cpp", "-o", program], check=True)
        found = {}
        for count in threads:
            env = {**os.environ, "OMP_NUM_THREADS": str(count)}
            runs = [
                subprocess.run([program], env=env, capture_output=True, text=True, check=True)
                for _ in range(3)
            ]
            found[count] = best_of([json.loads(run.stdout) for run in runs])
        return found


def best_of(ceilings: list[dict[str, Any]]) -> dict[str, Any]:
    """The most that any of the runs reached: others of a shared machine only take away."""
    return {
        "gflops": max(c["gflops"] for c in ceilings),
        "bandwidth": {
            k: max(c["bandwidth"][k] for c in ceilings) for k in ceilings[0]["bandwidth"]
        },
    }


def machine() -> dict[str, Any]:
    report = info.collect()
    cpu, threads = report["cpu"], report["threads"]["number"]
    return {"cpu": cpu["name"], "isa": cpu["isa"], "threads": threads}


def held_to_avx2() -> dict[str, str]:
    """The engines' own switches; ONNX Runtime has none."""
    return {
        "LSTMCORE_FORCE_ISA": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "DNNL_MAX_CPU_ISA": "AVX2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "OPENBLAS_CORETYPE": "Haswell",
    }


def measured(arguments: argparse.Namespace) -> dict[str, Any]:
    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    threads = arguments.threads or sorted({1, _core.get_num_threads()})
    if arguments.isa == "avx2":
        os.environ.update(held_to_avx2())
    chosen = [c for c in cases.ALL if not arguments.cases or arguments.cases in c.name]
    engines = commands(arguments.peers.resolve(), arguments.engines)
    result: dict[str, Any] = {
        "date": datetime.date.today().isoformat(),
        "machine": machine(),
        "isa": arguments.isa,
        "ceilings": ceilings(threads),
        "rows": [],
    }
    workers = measure.start(engines, threads, say)
    result["versions"] = {worker.engine: worker.version for worker in workers}
    try:
        for k, case in enumerate(chosen):
            say(f"{k + 1}/{len(chosen)} {case.name}")
            result["rows"] += measure.measure_case(case, workers, arguments.rounds, arguments.slice)
    finally:
        for worker in workers:
            worker.close()
    if arguments.extras:
        python = engines["lstmcore"][0][0]
        say("busy core, ragged batches, cold costs")
        result["busy"] = extras.busy_core(engines, threads[-1], say)
        result["ragged"] = extras.ragged(python, threads)
        result["cold"] = extras.cold(python)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--name", default="result", help="of the file in bench/results")
    parser.add_argument("--peers", type=Path, default=ROOT / "build" / "peers")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--slice", type=float, default=0.04, help="seconds (default: %(default)s)")
    parser.add_argument("--cases", help="only those with this in their name")
    parser.add_argument("--engines", nargs="+")
    parser.add_argument("--threads", type=int, nargs="+")
    parser.add_argument("--isa", choices=["avx2"], help="hold every engine that can to this level")
    parser.add_argument("--no-extras", dest="extras", action="store_false")
    parser.add_argument("--no-docs", dest="docs", action="store_false")
    parser.add_argument("--report", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    path = arguments.report
    if path is None:
        path = ROOT / "bench" / "results" / f"{arguments.name}.json"
        path.write_text(json.dumps(measured(arguments), indent=1) + "\n", encoding="utf-8")
    result = json.loads(path.read_text(encoding="utf-8"))
    if arguments.docs:
        (ROOT / "docs" / "benchmarks.md").write_text(document.page(result, path.name), "utf-8")
        charts.draw(result, ROOT / "docs" / "images")
    else:
        print(document.page(result, path.name))


if __name__ == "__main__":
    main()
