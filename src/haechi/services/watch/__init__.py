"""Rules over observations, and the alarms they raise. Used by the pipeline (`WatchProjection`), the console face
(views) and `haechi check`."""

from haechi.services.watch.counts import counts
from haechi.services.watch.described import Described, from_document
from haechi.services.watch.memory import COLLECTIONS
from haechi.services.watch.parse import city_rules, load_rules, problems
from haechi.services.watch.projection import WatchProjection
from haechi.services.watch.rules import Rule
from haechi.services.watch.views import TABS, alarm_detail, alarms_of, list_alarms, shown_alarm

__all__ = [
    "COLLECTIONS",
    "TABS",
    "Described",
    "Rule",
    "WatchProjection",
    "alarm_detail",
    "alarms_of",
    "city_rules",
    "counts",
    "from_document",
    "list_alarms",
    "load_rules",
    "problems",
    "shown_alarm",
]
