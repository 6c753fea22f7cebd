"""The log as those need it who append to it: the roles and `haechi quarantine replay`."""

from nats.aio.client import Client

from haechi.app.settings import RunSettings
from haechi.plugins.stores.nats.log import NatsLog
from haechi.plugins.stores.nats.witness import Witness


def city_log(settings: RunSettings, client: Client) -> NatsLog:
    """Under `durability = "disk"` each confirmed append asks the disk once more."""
    witness = Witness(settings.folder / "log") if settings.durability == "disk" else None
    return NatsLog(client, settings.log_limits, witness)
