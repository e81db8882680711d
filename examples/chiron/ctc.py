"""CTC decoding in NumPy: prefix beam search, and the frames at which the letters sit.

A CTC network answers every frame with the probability of each letter or of "blank"; a sequence of
these spells a text once repeated letters are merged and blanks dropped (Graves et al.,
"Connectionist temporal classification", ICML 2006).
"""

from __future__ import annotations

from heapq import heapify, heappush, heapreplace
from math import exp, log1p
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray

_NEVER = float("-inf")
_total = attrgetter("total")


def log_softmax(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """Logits [..., classes] to log-probabilities of the same shape, in float64."""
    x = logits.astype(np.float64)
    x -= x.max(axis=-1, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=-1, keepdims=True))


class _Prefix:
    """A text in the beam, as a node of the tree of texts, with the log-probability of its paths.

    `blank` and `letter` are the paths that end in a blank and in the prefix's last letter, `total`
    is both together; `old_` marks the frame before. A total of -inf says that the prefix is not in
    the beam.
    """

    __slots__ = ("blank", "children", "last", "letter", "old_blank", "old_total", "parent", "total")

    def __init__(self, parent: _Prefix | None, last: int, letter: float) -> None:
        self.parent = parent
        self.last = last
        self.children: dict[int, _Prefix] = {}
        self.enter(letter)

    def enter(self, letter: float) -> None:
        """(Re)join the beam, by paths that all end in the last letter."""
        self.blank, self.letter, self.total = _NEVER, letter, letter
        self.old_blank = self.old_total = _NEVER

    def leave(self) -> None:
        """Drop out of the beam; the old values stay for the rest of this frame."""
        self.blank = self.letter = self.total = _NEVER

    def before(self, letter: int) -> float:
        """The paths of the frame before that `letter` extends: if repeated, those with a blank."""
        return self.old_blank if letter == self.last else self.old_total

    def stay(self, frame: list[float]) -> None:
        """Advance by one frame without growing, including what arrives from the parent."""
        if self.parent is not None:
            if self.parent.total != _NEVER:
                self.letter = _log_add(self.letter, self.parent.before(self.last))
            self.letter += frame[self.last]
        self.blank = self.old_total + frame[-1]
        self.total = _log_add(self.blank, self.letter)


def _log_add(a: float, b: float) -> float:
    """log(exp(a) + exp(b))."""
    if a < b:
        a, b = b, a
    return a if b == _NEVER else a + log1p(exp(b - a))


def beam_search(log_probs: NDArray[np.float64], beam_width: int) -> list[int]:
    """The most probable text that a beam of `beam_width` prefixes finds, as a list of labels.

    log_probs: [frames, classes], blank last.

    Follows tf.nn.ctc_beam_search_decoder (merge_repeated=False) decision by decision, and so
    departs from the textbook's prefix search in one point: a prefix that longer texts push out of
    the beam does not grow itself in that frame if its parent's turn comes between.
    Raises ValueError when beam_width is below 1.
    """
    if beam_width < 1:
        raise ValueError(f"beam_width must be at least 1, got {beam_width}")
    root = _Prefix(None, -1, _NEVER)
    root.blank = root.total = 0.0
    beam = [root]
    for frame in log_probs.tolist():
        beam = _advance(beam, frame, beam_width)

    labels = []
    prefix: _Prefix = max(beam, key=_total)
    while prefix.parent is not None:
        labels.append(prefix.last)
        prefix = prefix.parent
    return labels[::-1]


def _advance(beam: list[_Prefix], frame: list[float], beam_width: int) -> list[_Prefix]:
    """The beam after one more frame. frame: log-probability of each class, blank last."""
    beam = sorted(beam, key=_total, reverse=True)
    for prefix in beam:
        prefix.old_blank, prefix.old_total = prefix.blank, prefix.total
    for prefix in beam:
        prefix.stay(frame)

    # The best `beam_width` so far, the worst in front; the count saves comparing prefixes at ties.
    heap = [(prefix.total, count, prefix) for count, prefix in enumerate(beam)]
    heapify(heap)
    count = len(heap)
    for prefix in beam:
        if len(heap) == beam_width and prefix.old_total <= heap[0][0]:
            continue  # what grows from it is less probable still
        for letter, gain in enumerate(frame[:-1]):
            child = prefix.children.get(letter)
            if child is not None and child.total != _NEVER:
                continue  # in the beam already: stay() has counted this path
            score = prefix.before(letter) + gain
            if score > (heap[0][0] if len(heap) == beam_width else _NEVER):
                if child is None:
                    child = prefix.children[letter] = _Prefix(prefix, letter, score)
                else:
                    child.enter(score)
                count += 1
                if len(heap) == beam_width:
                    heapreplace(heap, (score, count, child))[2].leave()
                else:
                    heappush(heap, (score, count, child))
            elif child is not None:
                child.old_blank = child.old_total = _NEVER  # pushed out: skip its own turn
    return [prefix for _, _, prefix in heap]


def align(log_probs: NDArray[np.float64], labels: list[int]) -> list[int]:
    """The frame at which each label begins, on the most probable path that spells `labels`.

    Viterbi's algorithm. log_probs: [frames, classes], blank last.
    Raises ValueError when the frames are too few to spell the labels.
    """
    blank = log_probs.shape[1] - 1
    # The path walks through blank, label, blank, label, ..., blank and may skip a blank between two
    # different labels.
    states = np.full(2 * len(labels) + 1, blank)
    states[1::2] = labels
    can_skip = np.zeros(len(states), bool)
    can_skip[3::2] = states[3::2] != states[1:-2:2]

    score = np.full(len(states), -np.inf)
    score[:2] = log_probs[0, states[:2]]
    steps = np.zeros((len(log_probs), len(states)), np.int8)
    for t in range(1, len(log_probs)):
        reach = np.full((3, len(states)), -np.inf)
        reach[0] = score
        reach[1, 1:] = score[:-1]
        reach[2, 2:] = np.where(can_skip[2:], score[:-2], -np.inf)
        steps[t] = reach.argmax(axis=0)
        score = reach.max(axis=0) + log_probs[t, states]
    state = len(states) - 1
    if labels and score[state - 1] > score[state]:
        state -= 1
    if score[state] == -np.inf:
        raise ValueError(f"{len(log_probs)} frames cannot spell {len(labels)} labels")

    starts = [0] * len(labels)
    for t in range(len(log_probs) - 1, -1, -1):
        if state % 2:
            starts[state // 2] = t
        state -= int(steps[t, state])
    return starts
