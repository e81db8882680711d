"""Coverage-guided fuzzing of one reader of model files, with atheris (``pip install atheris``).

    python tests/fuzz/fuzz_load.py pt -runs=20000 -len_control=0

with an lstmcore that is not an editable installation, whose loader hides the code from atheris.

The first argument is the ending of the format (pt, safetensors, onnx, pb, h5, keras or index), the
others are libFuzzer's. It starts from the small files of tests/golden. Anything but a model or a
LoadError is a finding; put its file into tests/hostile_models.py.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["lstmcore.formats", "lstmcore.checkpoint"]):
    import lstmcore
    import lstmcore.formats.loading
    import lstmcore.formats.onnx_file
    import lstmcore.formats.safetensors_file
    import lstmcore.formats.tf_checkpoint
    import lstmcore.formats.tf_graph
    import lstmcore.formats.torch_file

GOLDEN = Path(__file__).parents[1] / "golden"
ENDINGS = ("pt", "safetensors", "onnx", "pb", "h5", "keras", "index")


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1] not in ENDINGS:
        sys.exit(f"usage: fuzz_load.py {{{','.join(ENDINGS)}}} [libFuzzer's options]")
    ending = sys.argv.pop(1)
    work = Path(tempfile.mkdtemp(prefix="fuzz-"))
    corpus = work / "corpus"
    corpus.mkdir()
    for path in GOLDEN.rglob(f"*.{ending}"):
        shutil.copy(path, corpus / f"{path.parent.name}-{path.name}")
    target = work / f"model.{ending}"

    def one_input(data: bytes) -> None:
        target.write_bytes(data)
        with contextlib.suppress(lstmcore.LoadError):
            lstmcore.open_models(target, forget_bias=0.5 if ending in ("pb", "index") else None)

    atheris.Setup([*sys.argv, str(corpus)], one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
