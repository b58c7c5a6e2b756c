"""Protocol Buffers, as their own library reads them."""

from __future__ import annotations

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.unknown_fields import UnknownFieldSet

from topbit.report.protobuf import message, number, text, varint


@pytest.mark.parametrize("value", [0, 1, 127, 128, 300, 1 << 14, (1 << 63) + 5, (1 << 64) - 1])
def test_numbers(value: int) -> None:
    read = FileDescriptorProto.FromString(number(1000, value))
    (field,) = UnknownFieldSet(read)
    assert (field.field_number, field.wire_type, field.data) == (1000, 0, value)


@pytest.mark.parametrize(
    ("value", "written"), [(0, "00"), (1, "01"), (127, "7f"), (128, "8001"), (300, "ac02")]
)
def test_varints_of_the_specification(value: int, written: str) -> None:
    assert varint(value).hex() == written


def test_texts_and_messages() -> None:
    part = text(1, "ä" * 100) + message(1000, b"\x00\x01")
    read = FileDescriptorProto.FromString(part)
    assert read.name == "ä" * 100
    (field,) = UnknownFieldSet(read)
    assert (field.field_number, field.wire_type, field.data) == (1000, 2, b"\x00\x01")


def test_what_is_no_text_is_written_as_an_escape() -> None:
    assert FileDescriptorProto.FromString(text(1, "\ud800")).name == r"\ud800"
