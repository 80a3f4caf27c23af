"""Our definition of the Open Inference Protocol's messages against the file that KServe's SDK generates from theirs."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import given
from hypothesis import strategies as st
from kserve.protocol.grpc import grpc_predict_v2_pb2 as kserve_messages

from sabia.serving.protocols import messages

_BITS = {
    FieldDescriptorProto.TYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptorProto.TYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptorProto.TYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptorProto.TYPE_UINT64: (0, 2**64 - 1),
}
_TEXT = st.text(st.characters(codec="utf-8"), max_size=5)
_SCALARS: dict[int, st.SearchStrategy[Any]] = {
    FieldDescriptorProto.TYPE_BOOL: st.booleans(),
    FieldDescriptorProto.TYPE_STRING: _TEXT,
    FieldDescriptorProto.TYPE_BYTES: st.binary(max_size=5),
    FieldDescriptorProto.TYPE_FLOAT: st.floats(width=32, allow_nan=False),
    FieldDescriptorProto.TYPE_DOUBLE: st.floats(allow_nan=False),
    **{kind: st.integers(least, most) for kind, (least, most) in _BITS.items()},
}


def _file(descriptor: Any) -> FileDescriptorProto:
    found = descriptor_pb2.FileDescriptorProto()
    descriptor.CopyToProto(found)
    return found


OURS, THEIRS = _file(messages.DESCRIPTOR), _file(kserve_messages.DESCRIPTOR)


def _all_messages(within: str, found: Any) -> dict[str, DescriptorProto]:
    """Every message, nested ones too, by its full name."""
    every: dict[str, DescriptorProto] = {}
    for message in found:
        name = f"{within}.{message.name}"
        every |= {name: message} | _all_messages(name, message.nested_type)
    return every


OUR_MESSAGES = _all_messages(OURS.package, OURS.message_type)
THEIR_MESSAGES = _all_messages(THEIRS.package, THEIRS.message_type)


def test_the_file_has_the_same_name_package_and_syntax() -> None:
    assert (OURS.name, OURS.package, OURS.syntax) == (THEIRS.name, THEIRS.package, THEIRS.syntax)
    assert set(OUR_MESSAGES) == set(THEIR_MESSAGES)
    assert len(OUR_MESSAGES) > 25


@pytest.mark.parametrize("name", THEIR_MESSAGES)
def test_every_field_has_the_same_name_number_type_and_place(name: str) -> None:
    ours, theirs = OUR_MESSAGES[name], THEIR_MESSAGES[name]

    def described(message: DescriptorProto) -> list[tuple[Any, ...]]:
        return [
            (field.name, field.number, field.type, field.label, field.type_name, field.HasField("oneof_index"))
            for field in message.field
        ]

    assert described(ours) == described(theirs)
    assert [oneof.name for oneof in ours.oneof_decl] == [oneof.name for oneof in theirs.oneof_decl]
    assert ours.options.map_entry == theirs.options.map_entry


def test_the_service_has_the_same_methods() -> None:
    def described(file: FileDescriptorProto) -> list[tuple[str, ...]]:
        return [
            (service.name, method.name, method.input_type, method.output_type)
            for service in file.service
            for method in service.method
        ]

    assert described(OURS) == described(THEIRS)


@st.composite
def _filled(draw: st.DrawFn, message: Any, depth: int = 3) -> Any:
    """A message of this class with any of its fields set, messages within it too."""
    found = message()
    for field in message.DESCRIPTOR.fields:
        if not draw(st.booleans()):
            continue
        count = draw(st.integers(0, 3)) if field.is_repeated else 1
        nested = field.message_type
        if nested is None:
            values = [draw(_SCALARS[field.type]) for _ in range(count)]
            if field.is_repeated:
                getattr(found, field.name).extend(values)
            else:
                setattr(found, field.name, values[0])
        elif depth and nested.GetOptions().map_entry:
            for _ in range(count):
                value = draw(_filled(GetMessageClass(nested.fields_by_name["value"].message_type), depth - 1))
                getattr(found, field.name)[draw(_TEXT)].CopyFrom(value)
        elif depth:
            for _ in range(count):
                value = draw(_filled(GetMessageClass(nested), depth - 1))
                target = getattr(found, field.name)
                (target.add() if field.is_repeated else target).CopyFrom(value)
    return found


def _same(name: str, left: Message, right: Message) -> None:
    """The bytes of one side are read by the other, and written again as the same message."""
    assert type(left).DESCRIPTOR.full_name == type(right).DESCRIPTOR.full_name == f"inference.{name}"
    again = type(left).FromString(right.SerializeToString(deterministic=True))
    assert again == left
    assert str(left) == str(right)


@given(st.data(), st.sampled_from(["ModelInferRequest", "ModelInferResponse", "ModelMetadataResponse"]))
def test_bytes_of_kserves_messages_are_read_the_same(data: st.DataObject, name: str) -> None:
    theirs = data.draw(_filled(getattr(kserve_messages, name)))
    _same(name, getattr(messages, name).FromString(theirs.SerializeToString()), theirs)


@given(st.data(), st.sampled_from(["ModelInferRequest", "ModelInferResponse", "ModelMetadataResponse"]))
def test_bytes_of_our_messages_are_read_the_same_by_kserve(data: st.DataObject, name: str) -> None:
    ours = data.draw(_filled(getattr(messages, name)))
    _same(name, getattr(kserve_messages, name).FromString(ours.SerializeToString()), ours)
