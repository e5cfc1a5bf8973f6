from __future__ import annotations

import pytest

from broker.address import BadAddressError, BrokerAddress


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("hub", BrokerAddress("hub")),
        ("hub:1884", BrokerAddress("hub", 1884)),
        (" 192.168.1.4:1883 ", BrokerAddress("192.168.1.4")),
        ("mqtt://hub/", BrokerAddress("hub")),
        ("mqtt://[::1]:1884", BrokerAddress("::1", 1884)),
        ("mqtts://hub", BrokerAddress("hub", 8883, tls=True)),
        ("mqtts://hub:8884?ca=/etc/ca.crt", BrokerAddress("hub", 8884, tls=True, ca_file="/etc/ca.crt")),
        ("mqtt://pi4:s%40cr%3Aet@hub", BrokerAddress("hub", username="pi4", password="s@cr:et")),
        ("pi4:secret@hub:1883", BrokerAddress("hub", username="pi4", password="secret")),
    ],
)
def test_an_address_is_read_as_people_write_it(text: str, address: BrokerAddress) -> None:
    assert BrokerAddress.parse(text) == address


@pytest.mark.parametrize(
    "text",
    ["", "   ", "http://hub", "mqtt://", "mqtt://:1883", "hub:port", "hub:0", "hub:70000", "hub/path", "mqtt://hub#x",
     "mqtt://hub?ca=/x", "mqtts://hub?verify=no", "a host", "mqtt://[::1"],
)  # fmt: skip
def test_what_is_no_address_is_told_with_an_example(text: str) -> None:
    with pytest.raises(BadAddressError, match=r"mqtt://user:password@host:1883"):
        BrokerAddress.parse(text)


def test_a_password_is_never_printed() -> None:
    address = BrokerAddress.parse("mqtt://pi4:secret@hub")
    assert "secret" not in repr(address) + str(address)
    assert str(address) == "mqtt://pi4@hub:1883"
    for bad in ("mqtt://pi4:secret@hub:port", "http://pi4:secret@hub", "pi4:secret@hub/x"):
        with pytest.raises(BadAddressError) as caught:
            BrokerAddress.parse(bad)
        assert "secret" not in str(caught.value)
