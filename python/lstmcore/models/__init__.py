"""Whole LSTM models: layers of one or two directions over one another, run in one native call."""

from lstmcore.models.description import Cell, CellSpec, StackLayer
from lstmcore.models.lstm import LSTM

__all__ = ["LSTM", "Cell", "CellSpec", "StackLayer"]
