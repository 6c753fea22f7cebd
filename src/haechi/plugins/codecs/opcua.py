"""Values of OPC UA variables, as the adapter `opcua` writes them down, to samples; `opcua` in links.

A payload is JSON: a list of rows `[channel, field, value, observed at, StatusCode, server's time]`, instants in
microseconds or null, or an object with what is told of the server itself. An uncertain StatusCode is doubt.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from haechi.core.errors import InvalidData, InvalidSettings
from haechi.core.message import Message, Sample

COLUMNS = 6


def create(settings: Mapping[str, Any]) -> "OpcuaCodec":
    """The codec has no settings; `InvalidSettings` names one that is given."""
    if settings:
        raise InvalidSettings(f"codec_settings.{next(iter(settings))}: the codec opcua has no settings; remove it")
    return OpcuaCodec()


class OpcuaCodec:
    """`ports.Codec`. Refuses: malformed."""

    def decode(self, message: Message) -> Sequence[Sample]:
        """Samples in the order of the rows; `InvalidData` when these are no rows."""
        try:
            payload = orjson.loads(message.payload)
        except orjson.JSONDecodeError as error:
            raise InvalidData(f"not JSON: {error}; only the adapter writes for this codec", "malformed") from error
        if isinstance(payload, dict):
            return [Sample(field, value) for field, value in payload.items()]
        if not isinstance(payload, list) or not all(_is_row(one) for one in payload):
            raise InvalidData("no rows of an OPC UA server; only the adapter writes for this codec", "malformed")
        # the two highest bits of a StatusCode are its severity: 0 good, 1 uncertain (OPC 10000-4, 7.39.1)
        return [Sample(row[1], row[2], row[3], None, row[4] >> 30 == 1, None, row[0]) for row in payload]


def _is_row(one: Any) -> bool:
    return (
        type(one) is list
        and len(one) == COLUMNS
        and type(one[0]) is str
        and type(one[1]) is str
        and (one[3] is None or type(one[3]) is int)
        and type(one[4]) is int
    )
