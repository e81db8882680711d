"""The parts of examples/chiron that need no download; marked `network`, the example end to end."""

import itertools
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

EXAMPLE = Path(__file__).parents[1] / "examples" / "chiron"
sys.path.insert(0, str(EXAMPLE))

import ctc  # noqa: E402
import network  # noqa: E402
import package  # noqa: E402
import picture  # noqa: E402
import run  # noqa: E402

import registry  # noqa: E402


def collapse(path, blank):
    """The text that a path spells: repeats merged, blanks dropped."""
    return tuple(label for label, _ in itertools.groupby(path) if label != blank)


def random_log_probs(seed, frames, classes):
    return ctc.log_softmax(np.random.default_rng(seed).normal(scale=2.0, size=(frames, classes)))


shapes = st.tuples(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(2, 4))


# --------------------------------------------------------------------------------------------- ctc


@settings(deadline=None, max_examples=60)
@given(shapes)
def test_a_beam_that_holds_everything_finds_the_most_probable_text(shape):
    seed, frames, classes = shape
    log_probs = random_log_probs(seed, frames, classes)
    text_probs = {}
    for path in itertools.product(range(classes), repeat=frames):
        text = collapse(path, classes - 1)
        prob = np.exp(sum(log_probs[t, label] for t, label in enumerate(path)))
        text_probs[text] = text_probs.get(text, 0.0) + prob
    best = max(text_probs, key=text_probs.__getitem__)
    found = tuple(ctc.beam_search(log_probs, beam_width=classes**frames))
    assert text_probs[found] == pytest.approx(text_probs[best], rel=1e-12)


def test_a_beam_of_one_keeps_only_the_likeliest_prefix():
    log_probs = np.log([[0.4, 0.6], [0.4, 0.6]])
    assert (
        ctc.beam_search(log_probs, 1) == []
    )  # "no letter" leads after each frame, with 0.36 at last
    assert ctc.beam_search(log_probs, 2) == [0]  # but three paths spell the letter, with 0.64


# Scores in hundredths, 12 frames of 4 classes; the beam width; what tf.nn.ctc_beam_search_decoder
# (tensorflow-cpu 2.15.1, merge_repeated=False) answers; what the textbook's prefix search would.
TENSORFLOW_ANSWERS = [
    (
        """-124 16 250 -65  -220 -160 355 -70  -237 -60 60 57  373 -38 -309 302
        57 60 -136 -207  316 -304 -124 -229  289 64 -142 143  389 -193 -179 80
        49 -227 -128 -4  173 -297 134 102  412 -479 -68 -79  308 -236 -111 53""",
        3,
        [2, 0],
        [2, 0, 2, 0],
    ),
    (
        """321 447 173 192  -111 394 83 96  -284 336 -75 173  210 288 85 -453
        68 -72 323 -375  -364 -371 337 255  -53 63 155 -280  370 464 -50 -58
        148 32 109 38  -200 5 -47 -197  -281 27 -70 9  -153 -449 125 -13""",
        5,
        [1, 2, 1, 0, 1, 2],
        [1, 2, 1, 2, 1, 2],
    ),
]


@pytest.mark.parametrize(("scores", "beam_width", "answer", "textbook"), TENSORFLOW_ANSWERS)
def test_narrow_beams_decide_as_tensorflow(scores, beam_width, answer, textbook):
    assert answer != textbook
    log_probs = ctc.log_softmax(np.array(scores.split(), float).reshape(12, 4) / 100)
    assert ctc.beam_search(log_probs, beam_width) == answer


def test_beam_search_refuses_an_empty_beam():
    with pytest.raises(ValueError, match="beam_width must be at least 1, got 0"):
        ctc.beam_search(np.zeros((2, 3)), 0)


def test_no_frames_spell_nothing():
    assert ctc.beam_search(np.zeros((0, 5)), 30) == []


@settings(deadline=None, max_examples=60)
@given(shapes, st.lists(st.integers(0, 2), max_size=4))
def test_align_follows_the_most_probable_path(shape, labels):
    seed, frames, classes = shape
    labels = [label % (classes - 1) for label in labels]
    log_probs = random_log_probs(seed, frames, classes)
    paths = [
        path
        for path in itertools.product(range(classes), repeat=frames)
        if list(collapse(path, classes - 1)) == labels
    ]
    if not paths:
        with pytest.raises(ValueError, match=f"{frames} frames cannot spell {len(labels)} labels"):
            ctc.align(log_probs, labels)
        return
    best = max(paths, key=lambda path: sum(log_probs[t, label] for t, label in enumerate(path)))
    before = (classes - 1, *best)
    starts = [t for t, label in enumerate(best) if label != classes - 1 and label != before[t]]
    assert ctc.align(log_probs, labels) == starts


# ----------------------------------------------------------------------------------------- network


def test_normalise_counts_each_reading_once():
    # Distinct readings 1, 2, 3, 5, 9: median 3, absolute deviations 2, 1, 0, 2, 6, their median 2.
    signal = np.array([9, 9, 9, 9, 1, 2, 3, 5, 9], np.float32)
    expected = (signal - 3) / (2 / 0.6744897501960817)
    np.testing.assert_allclose(network.normalise(signal), expected, rtol=1e-6)
    assert network.normalise(signal).dtype == np.float32


def test_normalise_refuses_a_constant_signal():
    with pytest.raises(ValueError, match="the signal is constant"):
        network.normalise(np.full(7, 412, np.float32))


def test_segments_overlap_and_the_last_is_padded():
    signal = np.arange(1, 1001, dtype=np.float32)
    segments, lengths = network.cut(signal, 99)
    assert segments.shape == (3, 400)
    assert lengths.tolist() == [400, 400, 220]
    np.testing.assert_array_equal(segments[1], signal[390:790])
    np.testing.assert_array_equal(segments[2, :220], signal[780:])
    assert not segments[2, 220:].any()
    assert len(network.cut(signal, 2)[0]) == 2


@pytest.mark.parametrize("content", ["", "412 four 417", "412 nan 417"])
def test_a_broken_signal_file_is_refused_by_name(tmp_path, content):
    path = tmp_path / "read1.signal"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"read1\.signal is no signal file"):
        network.read_signal(path)


@settings(deadline=None, max_examples=40)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([1, 3, 5]),
    st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 4), st.integers(1, 5)),
)
def test_convolve_equals_the_sum_written_out(seed, width, sizes):
    rows, length, inputs, outputs = sizes
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, length, inputs))
    weights = rng.normal(size=(width, inputs, outputs))
    expected = np.zeros((rows, length, outputs))
    for row, t, k, i, o in itertools.product(*map(range, (rows, length, width, inputs, outputs))):
        source = t + k - width // 2
        if 0 <= source < length:
            expected[row, t, o] += x[row, source, i] * weights[k, i, o]
    np.testing.assert_allclose(network.convolve(x, weights), expected, rtol=1e-12, atol=1e-12)


def test_batch_normalisation_is_folded_into_the_convolution():
    rng = np.random.default_rng(5)
    tensors = {f"c_bn/{name}": rng.normal(size=6) for name in ("scale", "offset", "pop_mean")}
    tensors["c_bn/pop_var"] = rng.uniform(0.1, 3, size=6)
    tensors["c/weights"] = rng.normal(size=(1, 3, 4, 6))

    class Reader:
        get_tensor = staticmethod(tensors.__getitem__)
        has_tensor = staticmethod(tensors.__contains__)

    x = rng.normal(size=(2, 7, 4))
    plain = network.convolve(x, tensors["c/weights"][0])
    scaled = (plain - tensors["c_bn/pop_mean"]) / np.sqrt(tensors["c_bn/pop_var"] + 1e-5)
    expected = scaled * tensors["c_bn/scale"] + tensors["c_bn/offset"]
    np.testing.assert_allclose(network._Conv(Reader, "c")(x), expected, rtol=1e-12)


# ------------------------------------------------------------------------------ report and picture


@pytest.mark.parametrize(
    ("a", "b", "distance"),
    [("", "", 0), ("ACGT", "", 4), ("ACGT", "CGTA", 2), ("GATTA", "GCATG", 3)],
)
def test_edit_distance(a, b, distance):
    assert run.edit_distance(a, b) == distance
    assert run.edit_distance(b, a) == distance


@given(st.lists(st.integers(0, 60), max_size=12), st.floats(0.5, 9))
def test_letters_never_touch_and_free_ones_stay(starts, gap):
    starts = sorted(starts)
    places = picture._spread(starts, gap)
    assert all(b - a >= gap - 1e-9 for a, b in itertools.pairwise(places))
    assert sum(places) == pytest.approx(sum(starts))
    if all(b - a > gap for a, b in itertools.pairwise(starts)):
        assert places == pytest.approx(starts)


# ------------------------------------------------------------------------------------ command line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--segments", "0"], "expected a whole number of at least 1, got '0'"),
        (["--beam", "many"], "expected a whole number of at least 1, got 'many'"),
        (["--out", "letters.txt"], "--out must end in .png, .svg or .pdf, got letters.txt"),
        (["--out", "no/such/folder/a.png"], "there is no folder"),
    ],
)
def test_wrong_use_exits_with_2_before_any_work(arguments, message, capsys, tmp_path):
    with pytest.raises(SystemExit) as exit_:
        run.main([*arguments, "--package-dir", str(tmp_path / "absent")])
    assert exit_.value.code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "absent").exists()


def test_a_folder_that_is_no_chiron_exits_with_4(tmp_path, capsys):
    (tmp_path / "chiron").mkdir()
    assert run.main(["--package-dir", str(tmp_path)]) == 4
    assert "holds no chiron==0.6.1.1" in capsys.readouterr().err


def test_an_unreachable_registry_exits_with_4_and_leaves_no_trace(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    assert run.main(["--package-dir", str(tmp_path / "cache" / "chiron")]) == 4
    message = capsys.readouterr().err
    assert "pip could not fetch chiron==0.6.1.1" in message
    assert "--package-dir" in message
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_finished_download_is_not_replaced(tmp_path):
    folder, partial = tmp_path / "chiron", tmp_path / "chiron-x"
    for path in (folder, partial):
        path.mkdir()
        (path / "mark").write_text(path.name)
    registry._move_into_place(partial, folder)
    assert (folder / "mark").read_text() == "chiron"


@pytest.fixture
def broken_chiron(tmp_path, monkeypatch):
    """A folder with all files of the package, none of them as it should be."""
    files = {
        "model/DNA_default/final.ckpt-158301.index": "no index",
        "example_data/DNA/output/raw/read1.signal": "412 417 433 487",
        "example_data/DNA/output/segments/read1.fastq": ">read10\nTGG\n",
    }
    for name, content in files.items():
        path = tmp_path / "package" / "chiron" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    monkeypatch.setattr(package, "provide_matplotlib", lambda beside: None)
    return tmp_path / "package"


def test_a_broken_checkpoint_exits_with_3(broken_chiron, capsys):
    assert run.main(["--package-dir", str(broken_chiron)]) == 3
    assert "final.ckpt-158301.index" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["TGG\nCGG\n", ">read10\nTGN\n"])
def test_broken_letters_exit_with_3(broken_chiron, capsys, content):
    letters = broken_chiron / "chiron/example_data/DNA/output/segments/read1.fastq"
    letters.write_text(content)
    assert run.main(["--package-dir", str(broken_chiron)]) == 3
    assert "read1.fastq does not hold one line of letters" in capsys.readouterr().err


@pytest.mark.network
def test_four_segments_end_to_end(tmp_path, request):
    out = tmp_path / "letters.png"
    cache = Path(request.config.cache.mkdir("chiron")) / "package"
    command = [sys.executable, str(EXAMPLE / "run.py"), "--segments", "4"]
    command += ["--out", str(out), "--package-dir", str(cache)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, env=os.environ)
    refusal = [line for line in done.stderr.splitlines() if "could not fetch" in line]
    if done.returncode == 4 and refusal:
        pytest.skip(f"the package registry is not reachable: {refusal[0]}")
    assert done.returncode == 0, done.stderr
    assert "4 of 4 segments equal the recording." in done.stdout
    assert out.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert out.stat().st_size > 20_000
