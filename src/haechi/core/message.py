"""What an adapter hands to ingest (`Message`) and what a codec makes of it (`Sample`). Plain structs: one per
payload, hot path."""

from typing import Any

import msgspec


class Message(msgspec.Struct, frozen=True, gc=False):
    """One payload as it came off a socket. `device` is the authenticated sender, `channel` where it sent it (topic,
    path, CN)."""

    link: str
    device: str
    channel: str
    payload: bytes
    received_at: int  # microseconds since the epoch


class Sample(msgspec.Struct, frozen=True, gc=False):
    """One named value a codec found in a payload, in the device's own words; ingest maps it to entity and attribute."""

    field: str
    value: Any  # float | int | bool | str | list | dict
    observed_at: int | None = None  # microseconds; None: the device named no time, received_at counts
    unit: str | None = None  # UN/CEFACT code, when the payload itself names one
    doubt: bool = False  # the device flags this value (calibration, maintenance, fault)
    device: str | None = None  # when the payload names another sender than the connection (a gateway's sub-device)
    channel: str | None = None  # sub-address inside the device, matched with `channel` of devices.csv
