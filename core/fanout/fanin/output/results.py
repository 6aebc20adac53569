"""results.jsonl and failures.jsonl: every chunk once, in input order."""

from __future__ import annotations

from pathlib import Path

from fanout.fanin.combine.port import CombineStrategy
from fanout.fanin.lines import encode, result_line
from fanout.fanin.output.files import replacing
from fanout.fanin.reading import ResultReader
from fanout.ledger.jobs import Ending
from fanout.ledger.schema import Settled


async def write_results(
    folder: Path, reader: ResultReader, combine: CombineStrategy, stop: Ending | None = None
) -> None:
    """Write both files; chunks that have no outcome (yet) are not failures."""
    with replacing(folder / "results.jsonl") as results, replacing(folder / "failures.jsonl") as failures:
        async for chunk in reader.chunks():
            line = encode(result_line(chunk, combine, stop))
            results.write(line)
            if chunk.state == Settled.FAILED:
                failures.write(line)
