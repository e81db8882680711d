"""Train the character model that `lstmcore demo` ships, with PyTorch, and export it.

One LSTM layer without peepholes, one-hot characters in, a linear layer to the next character out.
The weights are exported in TensorFlow's layout, so that `lstmcore.BasicLSTMCell` runs them as they
are:

    kernel [characters + num_units, 4 * num_units], columns i, j, f, o (PyTorch: rows i, f, g, o)
    bias   [4 * num_units], the sum of PyTorch's two biases, minus `forget_bias` in the columns f,
           because BasicLSTMCell adds it again; the file stores the `forget_bias` to add

Run it from the repository root, with lstmcore and torch installed:

    python examples/train_demo/train.py --text austen.txt --out python/lstmcore/data/demo.npz
"""

from __future__ import annotations

import argparse
import collections
import math
import time
from pathlib import Path

import numpy as np

try:
    import torch
    from torch import nn
except ModuleNotFoundError:
    raise SystemExit("train.py needs PyTorch: pip install torch") from None

FORGET_BIAS = 1.0
HELD_OUT = 40_000  # characters at the end of the text that training never sees
RARE = 150  # a character seen less often is dropped: every one costs a row of the kernel


class CharacterModel(nn.Module):
    """Next-character model: `forward` takes ids [T, N] and gives logits [T, N, characters]."""

    def __init__(self, characters: int, num_units: int) -> None:
        super().__init__()
        self.characters = characters
        self.lstm = nn.LSTM(characters, num_units)
        self.output = nn.Linear(num_units, characters)
        nn.init.constant_(self.lstm.bias_hh_l0.data[num_units : 2 * num_units], FORGET_BIAS)

    def forward(self, ids: torch.Tensor, state: tuple | None = None) -> tuple:
        one_hot = nn.functional.one_hot(ids, self.characters).float()
        hidden, state = self.lstm(one_hot, state)
        return self.output(hidden), state


def read_text(path: Path) -> tuple[str, np.ndarray]:
    """The alphabet (sorted) and the text as positions in it."""
    text = path.read_text(encoding="utf-8")
    counts = collections.Counter(text)
    alphabet = "".join(sorted(character for character in counts if counts[character] >= RARE))
    position = {character: index for index, character in enumerate(alphabet)}
    ids = np.array([position[character] for character in text if character in position], np.int64)
    if len(ids) < 10 * HELD_OUT:
        raise SystemExit(
            f"{path}: {len(ids):,} characters are too few; give at least {10 * HELD_OUT:,}"
        )
    return alphabet, ids


def loss_of(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Mean cross entropy in nats per character."""
    return nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())


@torch.no_grad()
def held_out_loss(model: CharacterModel, ids: np.ndarray) -> float:
    """Nats per character on the end of the text, read as one sequence from the zero state."""
    sequence = torch.from_numpy(ids[-HELD_OUT:])[:, None]
    logits, _ = model(sequence[:-1])
    return loss_of(logits, sequence[1:]).item()


def learning_rate(step: int, steps: int, peak: float) -> float:
    """A short linear warm-up, then half a cosine down to nearly zero."""
    warm_up = 200
    if step < warm_up:
        return peak * (step + 1) / warm_up
    return peak * max(0.5 * (1 + math.cos(math.pi * (step - warm_up) / (steps - warm_up))), 1e-3)


def train(model: CharacterModel, ids: np.ndarray, options: argparse.Namespace) -> None:
    """Truncated back-propagation through time: `batch` streams in pieces of `length`."""
    stream = (len(ids) - HELD_OUT) // options.batch
    streams = torch.from_numpy(
        ids[: stream * options.batch].reshape(options.batch, stream).T.copy()
    )
    pieces = (stream - 1) // options.length
    steps = options.epochs * pieces
    optimizer = torch.optim.Adam(model.parameters(), betas=(0.9, 0.99))
    started, running = time.perf_counter(), 0.0
    for step in range(steps):
        piece = step % pieces
        if piece == 0:
            # A new offset for every epoch, so that the pieces are cut at other places.
            offset = int(torch.randint(stream - pieces * options.length, (1,)))
            state = None
        begin = offset + piece * options.length
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps, options.learning_rate)
        logits, state = model(streams[begin : begin + options.length], state)
        state = tuple(part.detach() for part in state)
        loss = loss_of(logits, streams[begin + 1 : begin + options.length + 1])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        running += (loss.item() - running) / min(step + 1, 100)
        if (step + 1) % 500 == 0 or step + 1 == steps:
            seconds = time.perf_counter() - started
            print(
                f"step {step + 1}/{steps}  {seconds:5.0f} s  train {running:.4f}"
                f"  held out {held_out_loss(model, ids):.4f}",
                flush=True,
            )


@torch.no_grad()
def round_weights(model: CharacterModel) -> None:
    """Round the matrices to float16, the precision of the file; biases stay float32."""
    for matrix in (model.lstm.weight_ih_l0, model.lstm.weight_hh_l0, model.output.weight):
        matrix.copy_(matrix.half().float())


def tensorflow_layout(model: CharacterModel) -> tuple[np.ndarray, np.ndarray]:
    """BasicLSTMCell's kernel and bias; see the head of this file."""
    lstm = model.lstm

    def gates_ijfo(rows: torch.Tensor) -> torch.Tensor:
        i, f, j, o = rows.detach().chunk(4)
        return torch.cat([i, j, f, o])

    kernel = torch.cat([gates_ijfo(lstm.weight_ih_l0).T, gates_ijfo(lstm.weight_hh_l0).T])
    bias = gates_ijfo(lstm.bias_ih_l0 + lstm.bias_hh_l0).clone()
    bias[2 * lstm.hidden_size : 3 * lstm.hidden_size] -= FORGET_BIAS
    return kernel.numpy(), bias.numpy()


def export(model: CharacterModel, alphabet: str, options: argparse.Namespace) -> None:
    """Write the model as a plain .npz: arrays only, nothing that needs pickle to read."""
    kernel, bias = tensorflow_layout(model)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        options.out,
        alphabet=np.array(alphabet),
        source=np.array(options.source),
        forget_bias=np.float32(FORGET_BIAS),
        kernel=kernel.astype(np.float16),
        bias=bias,
        output_kernel=model.output.weight.detach().numpy().T.astype(np.float16),
        output_bias=model.output.bias.detach().numpy(),
    )


@torch.no_grad()
def compare(model: CharacterModel, ids: np.ndarray, path: Path, steps: int = 1000) -> float:
    """Largest difference between PyTorch's logits and those of the exported file under lstmcore."""
    from lstmcore.app.character_model import load_model

    sequence = ids[-HELD_OUT : steps - HELD_OUT]
    expected = model(torch.from_numpy(sequence)[:, None])[0][:, 0].numpy()
    character_model = load_model(path)
    state = character_model.zero_state()
    worst = 0.0
    for index, logits in zip(sequence, expected, strict=True):
        ours, state = character_model.step(int(index), state)
        worst = max(worst, float(np.abs(ours - logits).max()))
    return worst


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--text", type=Path, required=True, help="plain UTF-8 text, a paragraph a line"
    )
    parser.add_argument("--out", type=Path, required=True, help="the .npz file to write")
    parser.add_argument(
        "--source", default="", help="where the text comes from; stored in the file"
    )
    parser.add_argument(
        "--keep",
        type=Path,
        help="PyTorch weights: written after training; when there already, read instead",
    )
    parser.add_argument("--num-units", type=int, default=160)
    parser.add_argument("--epochs", type=int, default=14)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--learning-rate", type=float, default=3e-3)
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def main() -> None:
    options = arguments()
    torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    alphabet, ids = read_text(options.text)
    model = CharacterModel(len(alphabet), options.num_units)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    print(f"{len(ids):,} characters, alphabet of {len(alphabet)}; {parameters:,} parameters")
    if options.keep and options.keep.exists():
        model.load_state_dict(torch.load(options.keep, weights_only=True))
    else:
        train(model, ids, options)
        if options.keep:
            torch.save(model.state_dict(), options.keep)
    print(f"held out, before rounding: {held_out_loss(model, ids):.4f} nats per character")
    round_weights(model)
    print(f"held out, as stored:       {held_out_loss(model, ids):.4f} nats per character")
    export(model, alphabet, options)
    print(f"{options.out}: {options.out.stat().st_size:,} bytes")
    print(f"largest difference from PyTorch's logits: {compare(model, ids, options.out):.2e}")


if __name__ == "__main__":
    main()
