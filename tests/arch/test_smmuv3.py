"""SMMUv3 layouts against words that other programs wrote or read."""

from topbit.arch.smmuv3 import EVENT_FIELDS, STE, Command, EventRecord, EventType, Opcode


def test_ste_of_a_recorded_stream() -> None:
    """A stage-2 STE as QEMU 10.0.2 accepted it: 40 bits from level 1, VMID 3."""
    ste = STE.of(0xD, 0x1000_0000_0000, 0x42C_3558_0000_0003, 0x4040_0000, 0, 0, 0, 0)
    assert (ste.V, ste.Config, ste.SHCFG) == (1, 6, 1)
    assert (ste.S2VMID, ste.S2T0SZ, ste.S2SL0, ste.S2TG) == (3, 24, 1, 0)
    assert (ste.S2PS, ste.S2AA64, ste.S2AFFD, ste.S2R) == (4, 1, 1, 1)
    assert ste.S2TTB == 0x4040_0000
    assert ste.size() == 64


def test_event_record_of_a_stage_2_translation_fault() -> None:
    """A write to 0x100433ce123 by StreamID 0x10, as it stands in the queue."""
    raw = EventRecord.of(0x10_0000_0010, 0x0280_0000_0000, 0x100_433C_E123, 0x100_433C_E000)
    assert raw.name == "F_TRANSLATION"
    assert (raw.StreamID, raw.RnW, raw.S2, raw.CLASS) == (0x10, 0, 1, 2)
    assert (raw.InputAddr, raw.IPA) == (0x100_433C_E123, 0x100_433C_E000)
    assert raw.size() == 32
    assert EventRecord(Type=0x7F).name == "0x7f"


def test_every_stage_2_event_lists_fields_that_exist() -> None:
    for names in EVENT_FIELDS.values():
        assert set(names) <= set(EventRecord.FIELDS)
    assert "IPA" in EVENT_FIELDS[EventType.F_TRANSLATION]
    assert "FetchAddr" in EVENT_FIELDS[EventType.F_WALK_EABT]
    assert "InputAddr" not in EVENT_FIELDS[EventType.C_BAD_STE]


def test_command_fields() -> None:
    command = Command(Opcode=Opcode.TLBI_S2_IPA, VMID=5, Address=0x100_433C_E000, TG=1, TTL=3)
    assert command.words == [0x5_0000_002A, 0x100_433C_E700]
    command = Command(Opcode=Opcode.CFGI_STE, StreamID=0x10, Leaf=1)
    assert command.words == [0x10_0000_0003, 1]
