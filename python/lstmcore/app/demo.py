"""``lstmcore demo``: a small model writes text through BasicLSTMCell, then reports its speed."""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path
from typing import NamedTuple

from lstmcore import _core
from lstmcore.app.character_model import CharacterModel, load_model
from lstmcore.app.terminal import heading

_SENTENCE_END = ".!?"
_LONGEST_ENDING = 200  # characters past the length, to finish the sentence under way
_MOST_COLUMNS = 80
_LONGEST_WORD = 12  # a line is broken at the first space this close to its end
# Seconds between characters on a terminal: the model is far faster than anyone reads.
_PAUSE = 0.004

_NEXT = (
    "lstmcore demo --prompt 'My dear Emma,' --temperature 0.7 --seed 7",
    "lstmcore info",
    'python -c "from lstmcore import tf; print(tf.nn.rnn_cell.BasicLSTMCell(128))"',
)


class Speed(NamedTuple):
    """What `measure` found."""

    steps_per_second: float
    busy_threads: int


class Typewriter:
    """Writes characters as they come, breaking long lines at spaces."""

    def __init__(self) -> None:
        self._columns = min(shutil.get_terminal_size((_MOST_COLUMNS, 24)).columns, _MOST_COLUMNS)
        self._pause = _PAUSE if sys.stdout.isatty() else 0.0
        self._column = 0

    def write(self, character: str) -> None:
        late = self._column >= self._columns - _LONGEST_WORD
        if character == "\n" or (character == " " and late):
            character, self._column = "\n", 0
        elif self._column >= self._columns - 1:
            character, self._column = "\n" + character, 1
        else:
            self._column += 1
        sys.stdout.write(character)
        sys.stdout.flush()
        time.sleep(self._pause)


def write_text(
    model: CharacterModel, prompt: str, length: int, temperature: float, seed: int
) -> str:
    """Write the prompt, `length` characters and the rest of the sentence; return it all."""
    typewriter = Typewriter()
    for character in prompt:
        typewriter.write(character)
    written = prompt
    for number, character in enumerate(model.write(prompt, temperature, seed), start=1):
        typewriter.write(character)
        written += character
        if number >= length and character in _SENTENCE_END:
            break
        if number >= length + _LONGEST_ENDING:
            sys.stdout.write("...")
            break
    print()
    return written


def measure(model: CharacterModel, text: str, seconds: float = 0.3) -> Speed:
    """Time `BasicLSTMCell` alone: it reads `text` over and over, a call a character."""
    inputs = [model.one_hot[position] for position in model.positions(text)]
    state, steps = model.zero_state(), 0
    begun, begun_processor = time.perf_counter(), time.process_time()
    elapsed = 0.0
    while elapsed < seconds:
        for one_hot in inputs:
            _, state = model.cell(one_hot, state)
        steps += len(inputs)
        elapsed = time.perf_counter() - begun
    busy = (time.process_time() - begun_processor) / elapsed
    return Speed(steps / elapsed, max(1, round(busy)))


def run(prompt: str, length: int, temperature: float, seed: int, path: Path) -> None:
    """The whole demo, on standard output.

    Raises ValueError for a prompt the model cannot read; OSError or CheckpointError for a bad
    model file; RuntimeError for a forced ISA that is not there.
    """
    core = _core.info()
    if core["isa"] is None:
        raise RuntimeError(core["isa_error"])
    model = load_model(path)
    model.positions(prompt)
    heading(
        f"An LSTM of {model.num_units} units that has read {model.source or 'some text'} writes:"
    )
    print()
    text = write_text(model, prompt, length, temperature, seed)
    speed = measure(model, text)
    print()
    heading("On this machine")
    steps = f"{speed.steps_per_second:,.0f}"
    print(f"  speed    {steps} LSTM steps per second, one BasicLSTMCell call each")
    forced = "forced, " if core["isa_forced"] else ""
    print(f"  ISA      {core['isa']} ({forced}of {', '.join(core['isa_found'])})")
    print(f"  threads  {speed.busy_threads} busy of {core['threads']} ({core['threads_reason']})")
    print()
    heading("Try next")
    for command in _NEXT:
        print(f"  {command}")
