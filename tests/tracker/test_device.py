import json

import pytest

from tracker.address import Address
from tracker.device import Description, DeviceKey
from tracker.errors import TrackerError

DESCRIPTION = Description(
    architecture="aarch64",
    cpu="Cortex-A72",
    features=("fp", "asimd"),
    cores=4,
    memory_bytes=4 << 30,
    clock_hz=1.5e9,
    temperature_c=None,
    host="7d1c",
    timing_cores=(2, 3),
    pid=12,
    agent="blinknet",
)


@pytest.mark.parametrize("text", ["rpi4.unit-02", "x86-64-v3.1", "jetson_nano.rack.4"])
def test_a_key_reads_back_what_it_writes(text: str) -> None:
    assert str(DeviceKey.parse(text)) == text


def test_a_key_has_its_class_before_the_first_dot() -> None:
    assert DeviceKey.parse("jetson.rack.4") == DeviceKey("jetson", "rack.4")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("rpi4", "no dot"),
        ("rpi4:unit.1", "colon"),
        ("rpi4.unit 1", "blank"),
        ("", "no dot"),
        (".unit", "letters"),
        ("rpi4.", "letters"),
        ("../x", "letters"),
    ],
)
def test_a_key_that_is_none_is_refused_with_an_example(text: str, complaint: str) -> None:
    with pytest.raises(TrackerError, match=f"(?s){complaint}.*rpi4.unit-02"):
        DeviceKey.parse(text)


def test_an_address_reads_back_what_it_writes() -> None:
    assert Address.parse("lab.example:9190") == Address("lab.example", 9190)
    assert str(Address("10.0.0.1", 80)) == "10.0.0.1:80"


@pytest.mark.parametrize(
    "text", ["9190", "host:", ":9190", "host:port", "host:0", "host:70000", "host:\N{ARABIC-INDIC DIGIT ONE}"]
)
def test_an_address_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(TrackerError, match="HOST:PORT"):
        Address.parse(text)


def test_a_description_survives_json() -> None:
    assert Description.from_json(DESCRIPTION.to_json()) == DESCRIPTION


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("cores", 0),
        ("cores", "4"),
        ("memory_bytes", -1),
        ("features", ["fp", 3]),
        ("timing_cores", []),
        ("clock_hz", "fast"),
        ("agent", "other"),
        ("pid", True),
    ],
)
def test_a_device_that_says_nonsense_is_not_believed(field: str, value: object) -> None:
    data = json.loads(DESCRIPTION.to_json()) | {field: value}
    with pytest.raises(TrackerError, match=field):
        Description.from_json(json.dumps(data))


@pytest.mark.parametrize("text", ["", "[]", "null", "{}", '{"cores": 4}'])
def test_a_description_that_is_incomplete_is_not_believed(text: str) -> None:
    with pytest.raises(TrackerError, match="blinknet device"):
        Description.from_json(text)
