"""embeddings: a matrix of vectors with their ids, streamed into Parquet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fanout.fanin.output.files import replacing
from fanout.fanin.reading import ResultReader
from fanout.fanin.reduce.port import ReduceStep
from fanout.ledger.schema import Settled

ROWS = 4096  # rows per row group: a few MiB for usual vectors


class Embeddings(ReduceStep):
    """Columns id (the item's) and vector (list of float32), and chunk where items are split; one row per chunk that
    succeeded, in input order."""

    def __init__(self, reader: ResultReader, *, split: bool) -> None:
        self._reader = reader
        fields = [pa.field("id", pa.string()), pa.field("vector", pa.list_(pa.float32()))]
        if split:
            fields.insert(1, pa.field("chunk", pa.int32()))
        self._schema = pa.schema(fields)

    async def write(self, path: Path) -> None:
        with replacing(path) as file, pq.ParquetWriter(file, self._schema) as writer:
            rows: list[dict[str, Any]] = []
            async for chunk in self._reader.chunks(state=Settled.SUCCEEDED):
                vector = chunk.answers[0].value or b""
                rows.append({"id": chunk.item, "chunk": chunk.index, "vector": memoryview(vector).cast("f")})
                if len(rows) == ROWS:
                    self._write_rows(writer, rows)
                    rows = []
            if rows:
                self._write_rows(writer, rows)

    def _write_rows(self, writer: Any, rows: list[dict[str, Any]]) -> None:
        columns = {name: [row[name] for row in rows] for name in self._schema.names if name != "vector"}
        lengths = [len(row["vector"]) for row in rows]
        offsets = [0]
        for length in lengths:
            offsets.append(offsets[-1] + length)
        flat = pa.py_buffer(b"".join(row["vector"].tobytes() for row in rows))
        values = pa.Array.from_buffers(pa.float32(), offsets[-1], [None, flat])
        columns["vector"] = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values)
        writer.write_table(pa.table([columns[name] for name in self._schema.names], schema=self._schema))
