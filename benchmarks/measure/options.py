"""What every benchmark's command line has in common."""

from __future__ import annotations

import argparse


def parser_of(told: str | None, *, rounds: int) -> argparse.ArgumentParser:
    """A parser with rounds, device, dtype, threads and ``--again``; ``told`` is the script's docstring."""
    parser = argparse.ArgumentParser(description=told, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=rounds, help="of timing, all arms once each")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--again", action="store_true", help="measure what is there already")
    return parser
