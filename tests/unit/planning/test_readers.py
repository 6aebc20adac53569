"""Each format, read in pieces of any size; a bad record costs itself only."""

import json
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanout.planning.sandbox.read import reader_for
from fanout.planning.sandbox.read.record import Broken, Record, UnreadableError


class Pieces:
    """A stream that gives at most `size` bytes at a time, and knows how much of it was held back."""

    def __init__(self, data: bytes, size: int = 1 << 20) -> None:
        self.data, self.size, self.at = data, size, 0

    def read(self, size: int, /) -> bytes:
        piece = self.data[self.at : self.at + min(size, self.size)]
        self.at += len(piece)
        return piece


def read(format_: str, data: bytes | str, max_bytes: int = 1 << 20, size: int = 1 << 20) -> list[Record | Broken]:
    data = data.encode() if isinstance(data, str) else data
    return list(reader_for(format_)(Pieces(data, size), "data", max_bytes))


def values(records: list[Record | Broken]) -> list[object]:
    return [r.value if isinstance(r, Record) else r.problem.reason for r in records]


def fault(records: list[Record | Broken], index: int = 0) -> str:
    record = records[index]
    assert isinstance(record, Broken)
    return record.problem.message


class TestJSONL:
    def test_objects_and_texts(self) -> None:
        assert values(read("JSONL", '{"a": 1}\n"b"\n')) == [{"a": 1}, "b"]

    def test_blank_lines_are_no_items_but_count_as_lines(self) -> None:
        records = read("JSONL", '\n{"a": 1}\n   \n\r\n{"a": 2}')
        assert [r.where for r in records] == ["data line 2", "data line 5"]

    def test_byte_order_mark_and_carriage_returns(self) -> None:
        assert values(read("JSONL", b'\xef\xbb\xbf{"a": 1}\r\n{"a": 2}\r\n')) == [{"a": 1}, {"a": 2}]

    def test_a_bad_line_costs_that_line(self) -> None:
        records = read("JSONL", '{"a": 1}\n{"a" 2}\n{"a": 3}\n')
        assert values(records) == [{"a": 1}, "InvalidRecord", {"a": 3}]
        assert (
            fault(records, 1) == "data line 2, column 6: not JSON: Expecting ':' delimiter: correct or remove this line"
        )

    def test_the_column_counts_characters(self) -> None:
        assert "column 8" in fault(read("JSONL", '{"äö€" 2}'))

    @pytest.mark.parametrize("line", ["[1]", "1", "1.5", "true", "null"])
    def test_what_is_no_record(self, line: str) -> None:
        assert "an object of fields (or a text) is asked for" in fault(read("JSONL", line))

    def test_bad_utf8_names_the_byte(self) -> None:
        records = read("JSONL", b'{"a": "\xff"}\n{"a": 2}\n')
        assert values(records) == ["InvalidRecord", {"a": 2}]
        assert "byte 8 is 0xff" in fault(records)

    @pytest.mark.parametrize(
        "line", ["[" * 100_000, '{"a": NaN}', '{"a": "\\ud800"}', '{"a": 1} x', "{'a': 1}", "\x00"]
    )
    def test_hostile_lines(self, line: str) -> None:
        assert values(read("JSONL", f'{line}\n{{"a": 1}}\n')) == ["InvalidRecord", {"a": 1}]

    @pytest.mark.parametrize("size", [1, 7, 1 << 20])
    def test_a_line_that_is_too_long_is_skipped(self, size: int) -> None:
        long = json.dumps({"a": "x" * 100})
        records = read("JSONL", f'{{"a": 1}}\n{long}\n{{"a": 3}}\n{long}', max_bytes=50, size=size)
        assert values(records) == [{"a": 1}, "TooLarge", {"a": 3}, "TooLarge"]
        assert "data line 2: the line is larger than 50 bytes" in fault(records, 1)

    def test_whole_numbers_of_any_size(self) -> None:
        assert values(read("JSONL", f'{{"a": {2**70}}}')) == [{"a": 2**70}]

    @given(
        st.lists(st.dictionaries(st.text(max_size=5), st.text() | st.integers() | st.none(), max_size=3), max_size=8),
        st.integers(1, 40),
    )
    def test_pieces_of_any_size_give_the_same(self, objects: list[dict[str, object]], size: int) -> None:
        data = "\n".join(json.dumps(each, ensure_ascii=False) for each in objects)
        records = read("JSONL", data, size=size)
        assert values(records) == objects
        assert records == read("JSONL", data)


class TestJSON:
    def test_an_array_is_its_elements(self) -> None:
        records = read("JSON", '[{"a": 1.5, "b": [1, {"c": null}]}, "text", 7]')
        assert values(records) == [{"a": 1.5, "b": [1, {"c": None}]}, "text", "InvalidRecord"]
        assert fault(records, 2).startswith("data element 3: a number")

    def test_an_object_is_one_item(self) -> None:
        assert values(read("JSON", '{"items": [1, 2]}')) == [{"items": [1, 2]}]

    def test_whole_numbers_of_any_size(self) -> None:
        assert values(read("JSON", f'[{{"a": {2**70}, "b": 1e3}}]')) == [{"a": 2**70, "b": 1000.0}]

    def test_byte_order_mark(self) -> None:
        assert values(read("JSON", b"\xef\xbb\xbf[{}]", size=1)) == [{}]

    @pytest.mark.parametrize("data", ["", "[{}", "[{},,{}]", "[{}] x", "nope", '[{}, {"a": "\x00"}]'])
    def test_broken_json_keeps_the_items_so_far(self, data: str) -> None:
        reader = reader_for("JSON")(Pieces(data.encode()), "data", 1000)
        seen = []
        with pytest.raises(UnreadableError, match=r"data, after byte 0: not JSON: .*: correct the file"):
            seen.extend(reader)

    def test_an_element_that_is_too_large_is_skipped(self) -> None:
        records = read("JSON", json.dumps([{"a": 1}, {"a": ["x" * 10] * 100}, {"a": 3}]), max_bytes=200)
        assert values(records) == [{"a": 1}, "TooLarge", {"a": 3}]

    def test_a_single_value_that_is_too_large_ends_the_reading(self) -> None:
        data = json.dumps([{"a": 1}, {"a": "x" * 500_000}])
        with pytest.raises(UnreadableError, match="a single value is larger than 1,000 bytes"):
            read("JSON", data, max_bytes=1000, size=1000)

    def test_deep_nesting(self) -> None:
        records = read("JSON", f"[{'[' * 5000}{']' * 5000}, {{}}]")
        assert values(records) == ["InvalidRecord", {}]
        assert "nested more than 200 levels" in fault(records)


class TestCSV:
    def test_the_header_names_the_fields(self) -> None:
        assert values(read("CSV", 'a,b\n1,"x, ""y"""\n')) == [{"a": "1", "b": 'x, "y"'}]

    def test_newlines_within_quotes(self) -> None:
        records = read("CSV", b'\xef\xbb\xbfa,b\r\n1,"x\r\ny"\r\n\r\n2,z\r\n', size=3)
        assert values(records) == [{"a": "1", "b": "x\r\ny"}, {"a": "2", "b": "z"}]
        assert [r.where for r in records] == ["data line 2", "data line 5"]

    def test_too_many_or_too_few_values(self) -> None:
        records = read("CSV", "a,b\n1\n1,2,3\n1,2\n")
        assert values(records) == ["InvalidRecord", "InvalidRecord", {"a": "1", "b": "2"}]
        assert "data line 2: the row has 1 values, the header 2 fields" in fault(records)

    def test_a_stray_quote_costs_its_line(self) -> None:
        records = read("CSV", 'a,b\n1,"x\n2,y\n3,"z"\n4,w\n')
        assert values(records) == ["InvalidRecord", {"a": "2", "b": "y"}, {"a": "3", "b": "z"}, {"a": "4", "b": "w"}]
        assert fault(records).startswith("data line 2: a quote is")

    def test_a_quote_that_never_closes_costs_its_line(self) -> None:
        records = read("CSV", 'a,b\n1,"x\n2,y\n')
        assert values(records) == ["InvalidRecord", {"a": "2", "b": "y"}]
        assert "a quote is opened and never closed" in fault(records)

    def test_a_quote_on_each_line_is_no_square_of_work(self) -> None:
        rows = 20_000
        records = read("CSV", "a,b\n" + '1,"x\n' * rows)
        assert values(records) == ["InvalidRecord"] * rows

    def test_bad_utf8_names_line_and_byte(self) -> None:
        records = read("CSV", b'a,b\n1,"x\ny\xff"\n2,z\n')
        assert values(records) == ["InvalidRecord", {"a": "2", "b": "z"}]
        assert "data line 3: not UTF-8: byte 2 is 0xff" in fault(records)

    def test_a_row_that_is_too_large(self) -> None:
        records = read("CSV", f"a,b\n1,{'x' * 100}\n2,y\n", max_bytes=50)
        assert values(records) == ["TooLarge", {"a": "2", "b": "y"}]

    def test_header_with_a_field_twice(self) -> None:
        with pytest.raises(UnreadableError, match='data line 1: the field "a" stands twice'):
            read("CSV", "a,b,a\n1,2,3\n")

    @given(st.lists(st.tuples(st.text(), st.text()), max_size=6), st.integers(1, 30))
    def test_what_is_written_is_read(self, rows: list[tuple[str, str]], size: int) -> None:
        def quoted(value: str) -> str:
            return '"' + value.replace('"', '""') + '"'

        data = "a,b\n" + "".join(f"{quoted(a)},{quoted(b)}\n" for a, b in rows)
        assert values(read("CSV", data, size=size)) == [{"a": a, "b": b} for a, b in rows]


class TestText:
    def test_a_file_is_one_item(self) -> None:
        assert values(read("Text", b"\xef\xbb\xbfa\r\n\nb\n", size=2)) == ["a\r\n\nb\n"]

    def test_an_empty_file(self) -> None:
        assert values(read("Text", "")) == [""]

    def test_bad_utf8_names_line_and_byte(self) -> None:
        assert "data line 2: not UTF-8: byte 4 is 0xff" in fault(read("Text", b"a\nb\xff"))

    def test_utf16(self) -> None:
        assert "data: UTF-16: convert the file to UTF-8" in fault(read("Text", "hello".encode("utf-16")))

    def test_too_large(self) -> None:
        records = read("Text", "x" * 1000, max_bytes=100, size=30)
        assert values(records) == ["TooLarge"]
        assert records[0].digest != read("Text", "y" * 1000, max_bytes=100)[0].digest


class TestOpenAIBatch:
    GOOD: ClassVar = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": {"messages": []}}

    def test_a_request(self) -> None:
        assert values(read("OpenAIBatch", json.dumps(self.GOOD))) == [self.GOOD]

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"custom_id": 7}, "custom_id is missing, or no string"),
            ({"custom_id": ""}, "custom_id is missing, or no string"),
            ({"method": "GET"}, 'request "a": method must be "POST"'),
            ({"url": "https://x/v1"}, 'request "a": url must be a path'),
            ({"body": []}, 'request "a": body must be an object'),
        ],
    )
    def test_a_broken_request(self, change: dict[str, object], message: str) -> None:
        records = read("OpenAIBatch", json.dumps(self.GOOD | change) + "\n" + json.dumps(self.GOOD))
        assert values(records) == ["InvalidRecord", self.GOOD]
        assert message in fault(records)


def test_inline_items_are_named_by_their_place() -> None:
    records = read("Inline", '"a"\n{"id": 1}\n3')
    assert [r.where for r in records] == ["data[0]", "data[1]", "data[2]"]
    assert values(records) == ["a", {"id": 1}, "InvalidRecord"]


@pytest.mark.parametrize("format_", ["JSONL", "JSON", "CSV", "Text", "OpenAIBatch", "Inline"])
@given(data=st.binary(max_size=200), size=st.integers(1, 50))
def test_no_bytes_can_crash_a_reader(format_: str, data: bytes, size: int) -> None:
    def outcome(pieces: int) -> tuple[list[Record | Broken], bool]:
        records: list[Record | Broken] = []
        try:
            records.extend(reader_for(format_)(Pieces(data, pieces), "data", 64))
        except UnreadableError:
            return records, True
        return records, False

    if format_ == "JSON":  # how far broken JSON is read before it is found out depends on the pieces
        assert outcome(size)[1] == outcome(1 << 20)[1]
    else:
        assert outcome(size) == outcome(1 << 20)
