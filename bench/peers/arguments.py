"""What the programs of peers are told on their command lines; `bench.peers.variants` tells it."""

from __future__ import annotations

import argparse
from pathlib import Path


def model_parser() -> argparse.ArgumentParser:
    """Of every program: which model, and where it is."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--library", type=Path, required=True)
    parser.add_argument("--model", required=True)
    return parser


def line_parser() -> argparse.ArgumentParser:
    """Of those that look at the input."""
    parser = model_parser()
    parser.add_argument("--input", type=Path, required=True)
    return parser


def ranks_parser() -> argparse.ArgumentParser:
    """Of those that start a rank of PyTorch's for each device."""
    parser = line_parser()
    parser.add_argument("--store", type=Path, required=True, help="a file that the ranks meet in")
    parser.add_argument("--parts", nargs="+", required=True, help="device, its cores, its share of the work")
    return parser
