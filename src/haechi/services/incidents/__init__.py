"""What people do about alarms. Used by the pipeline (`IncidentProjection`), the console face (views) and `haechi
check`."""

from haechi.services.incidents.desk import Closing
from haechi.services.incidents.playbooks import PHASES, Playbook, Step, load_playbooks, problems
from haechi.services.incidents.projection import COLLECTIONS, IncidentProjection
from haechi.services.incidents.views import (
    STATES,
    incident_detail,
    linked,
    list_incidents,
    shown_incident,
    shown_playbook,
)

__all__ = [
    "COLLECTIONS",
    "PHASES",
    "STATES",
    "Closing",
    "IncidentProjection",
    "Playbook",
    "Step",
    "incident_detail",
    "linked",
    "list_incidents",
    "load_playbooks",
    "problems",
    "shown_incident",
    "shown_playbook",
]
