"""All benchmarks, one after the other: `make bench`, or `python tests/benchmarks/run.py NAME…` for some."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

NAMES = ("makespan", "throughput", "first_call", "memory")


def main() -> None:
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores", flush=True)
    for name in sys.argv[1:] or NAMES:
        subprocess.run([sys.executable, str(Path(__file__).with_name(f"{name}.py"))], check=True)


if __name__ == "__main__":
    main()
