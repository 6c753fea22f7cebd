"""What people do with incidents (docs/reference/log.md, `incident.*`): opens, attaches, assigns, ticks, advances,
closes. Used by the projection; every accepted step is in the incident's timeline with who and when.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from haechi.core.alarm import LEVELS
from haechi.core.errors import Conflict, InvalidData, NotFound
from haechi.ports import Change, RecordStore
from haechi.services.incidents.playbooks import LANGUAGES, PHASES, Playbook

Command = Mapping[str, Any]
Incident = dict[str, Any]
AFTERWARDS = frozenset({"close", "evaluate"})  # phases of a closed incident


@dataclass(frozen=True, slots=True)
class Closing:
    """What the city asks for: mandatory steps ticked (or a note saying why not); verified by another than the
    assignee."""

    steps: bool = True
    separate_verifier: bool = False


class Desk:
    """Incidents in their store plus what was changed since `drain`. `alarms` is watch's store, read only."""

    def __init__(
        self, store: RecordStore, alarms: RecordStore, playbooks: Mapping[str, Playbook], closing: Closing
    ) -> None:
        self._store, self._alarms, self._playbooks, self._closing = store, alarms, playbooks, closing
        self._staged: dict[tuple[str, str], dict[str, Any]] = {}
        self._kinds: dict[str, Callable[[Command], Incident]] = {
            "incident.open": self._open,
            "incident.attach": self._attach,
            "incident.assign": self._assign,
            "incident.step": self._step,
            "incident.note": self._note,
            "incident.advance": self._advance,
            "incident.close": self._close,
        }

    def perform(self, command: Command) -> Incident:
        """Does what the command asks and returns the incident. `InvalidData`, `NotFound` or `Conflict`: nothing has
        changed."""
        handler = self._kinds.get(str(command.get("kind")))
        if handler is None:
            known = ", ".join(self._kinds)
            raise InvalidData(f"no command {command.get('kind')!r}; use one of {known}", "unknown_command")
        if isinstance(command.get("at"), bool) or not isinstance(command.get("at"), int):
            raise InvalidData(f"at is {command.get('at')!r}; write microseconds since 1970", "bad_command")
        _text(command, "user", required=True)
        return handler(command)

    def drain(self) -> tuple[list[Change], list[Incident], list[str]]:
        """What to commit, the incidents that changed, and the alarms that were linked."""
        staged, self._staged = self._staged, {}
        changes = [Change(collection, id, body) for (collection, id), body in staged.items()]
        incidents = [body for (collection, _), body in staged.items() if collection == "incidents"]
        return changes, incidents, [id for collection, id in staged if collection == "links"]

    # --- commands ---

    def _open(self, command: Command) -> Incident:
        alarms = self._unlinked(_ids(command), None) if command.get("alarms") else []
        title = _title(command.get("title"))
        if not alarms and title is None:
            raise InvalidData("an incident without alarms needs a title; add title", "bad_command")
        worst = max(alarms, key=lambda one: LEVELS[one["level"]], default=None)
        playbook = self._playbook(command, worst)
        number = (self._read("meta", "number") or {"last": 0})["last"] + 1
        incident: Incident = {
            "id": f"inc-{number}", "number": number, "state": "open", "phase": PHASES[0], "assignee": None,
            "title": title or dict((worst or {})["text"]), "domain": worst["domain"] if worst else None,
            "level": worst["level"] if worst else "attention", "alarms": [],
            "location": worst["location"] if worst else None, "place": worst["place"] if worst else None,
            "opened_at": command["at"], "opened_by": command["user"], "closed_at": None, "closed_by": None,
            "cause": None,
            "playbook": playbook.id if playbook else None, "steps": _steps(playbook), "timeline": [],
        }  # fmt: skip
        self._staged["meta", "number"] = {"last": number}
        self._link(incident, alarms)
        return self._write(incident, command, "opened", "", alarms=[one["id"] for one in alarms])

    def _attach(self, command: Command) -> Incident:
        incident = self._opened(command)
        alarms = [one for one in self._unlinked(_ids(command), incident["id"]) if one["id"] not in incident["alarms"]]
        if not alarms:
            raise Conflict(f"these alarms are in incident {incident['id']} already; read it again")
        self._link(incident, alarms)
        incident["level"] = max([incident["level"], *(one["level"] for one in alarms)], key=lambda word: LEVELS[word])
        return self._write(incident, command, "attached", "", alarms=[one["id"] for one in alarms])

    def _assign(self, command: Command) -> Incident:
        incident = self._opened(command)
        assignee = _text(command, "assignee", required=True)
        if incident["assignee"] == assignee:
            raise Conflict(f"incident {incident['id']} is {assignee}'s already; read it again")
        incident["assignee"] = assignee
        for alarm in incident["alarms"]:
            self._staged["links", alarm] = {"incident": incident["id"], "owner": assignee}
        return self._write(incident, command, "assigned", assignee, assignee=assignee)

    def _step(self, command: Command) -> Incident:
        incident = self._found(command)
        step = next((one for one in incident["steps"] if one["id"] == command.get("step")), None)
        if step is None:
            known = ", ".join(one["id"] for one in incident["steps"]) or "none"
            raise NotFound(f"incident {incident['id']} has no step {command.get('step')!r}; its steps: {known}")
        done = command.get("done", True)
        if not isinstance(done, bool):
            raise InvalidData(f"done is {done!r}; write true or false", "bad_command")
        if incident["state"] == "closed" and step["phase"] not in AFTERWARDS:
            raise Conflict(_closed(incident))
        if step["done"] is done:
            raise Conflict(f"step {step['id']} is {'done' if done else 'not done'} already; read the incident again")
        if step["phase"] == "verify":
            self._not_assignee(incident, command)
        step.update(done=done, done_by=command["user"] if done else None, done_at=command["at"] if done else None)
        kind = "step_done" if done else "step_undone"
        return self._write(incident, command, kind, _text(command, "note"), step=step["id"])

    def _note(self, command: Command) -> Incident:
        return self._write(self._found(command), command, "note", _text(command, "text", required=True))

    def _advance(self, command: Command) -> Incident:
        incident, phase = self._found(command), command.get("phase")
        if phase not in PHASES:
            raise InvalidData(f"phase is {phase!r}; use one of {', '.join(PHASES)}", "bad_command")
        if incident["phase"] == phase:
            raise Conflict(f"incident {incident['id']} is in phase {phase} already; read it again")
        if incident["state"] == "closed" and phase != "evaluate":
            raise Conflict(_closed(incident))
        if incident["state"] == "open" and phase in AFTERWARDS:
            raise Conflict(f"incident {incident['id']} is open; close it with its cause to come to {phase}")
        before, incident["phase"] = incident["phase"], phase
        return self._write(incident, command, "advanced", _text(command, "note"), **{"from": before, "to": phase})

    def _close(self, command: Command) -> Incident:
        incident = self._opened(command)
        cause, note = _text(command, "cause", required=True), _text(command, "note")
        self._not_assignee(incident, command)
        undone = [
            one["id"]
            for one in incident["steps"]
            if one["mandatory"] and not one["done"] and one["phase"] not in AFTERWARDS
        ]
        if undone and self._closing.steps and not note:
            raise Conflict(f"steps {', '.join(undone)} are not ticked; tick them or say why not in the note")
        incident.update(state="closed", phase="close", cause=cause, closed_at=command["at"], closed_by=command["user"])
        return self._write(incident, command, "closed", note, cause=cause, undone=undone)

    # --- parts ---

    def _read(self, collection: str, id: str) -> dict[str, Any] | None:
        return self._staged.get((collection, id)) or self._store.get(collection, id)

    def _write(self, incident: Incident, command: Command, kind: str, text: str, **more: Any) -> Incident:
        incident["timeline"].append({"at": command["at"], "who": command["user"], "kind": kind, "text": text, **more})
        self._staged["incidents", incident["id"]] = incident
        return incident

    def _found(self, command: Command) -> Incident:
        id = command.get("incident")
        incident = self._read("incidents", id) if isinstance(id, str) else None
        if incident is None:
            raise NotFound(f"no incident {id!r}; read the list of incidents again")
        return incident

    def _opened(self, command: Command) -> Incident:
        incident = self._found(command)
        if incident["state"] == "closed":
            raise Conflict(_closed(incident))
        return incident

    def _unlinked(self, ids: Sequence[str], own: str | None) -> list[dict[str, Any]]:
        """The alarms, none of which may be in another open incident."""
        alarms = []
        for id in ids:
            alarm = self._alarms.get("alarms", id)
            if alarm is None:
                raise NotFound(f"no alarm {id!r}; read the list of alarms again")
            link = self._read("links", id)
            other = self._read("incidents", link["incident"]) if link and link["incident"] != own else None
            if other is not None and other["state"] == "open":
                raise Conflict(
                    f"alarm {id} is in incident {other['id']}, opened by {other['opened_by']}; work on it there"
                )
            alarms.append(alarm)
        return alarms

    def _link(self, incident: Incident, alarms: Sequence[Mapping[str, Any]]) -> None:
        for alarm in alarms:
            incident["alarms"].append(alarm["id"])
            self._staged["links", alarm["id"]] = {"incident": incident["id"], "owner": incident["assignee"]}

    def _playbook(self, command: Command, worst: Mapping[str, Any] | None) -> Playbook | None:
        wanted = command.get("playbook")
        if wanted:
            if wanted not in self._playbooks:
                raise NotFound(f"no playbook {wanted!r}; there are: {', '.join(sorted(self._playbooks)) or 'none'}")
            return self._playbooks[wanted]
        return self._playbooks.get((worst or {}).get("playbook") or "")

    def _not_assignee(self, incident: Incident, command: Command) -> None:
        if self._closing.separate_verifier and command["user"] == incident["assignee"]:
            raise Conflict(
                f"{command['user']} worked on incident {incident['id']}; somebody else verifies and closes it"
            )


def _steps(playbook: Playbook | None) -> list[dict[str, Any]]:
    return [
        {"id": one.id, "text": dict(one.text), "phase": one.phase, "mandatory": one.mandatory}
        | {"done": False, "done_by": None, "done_at": None}
        for one in (playbook.steps if playbook else ())
    ]


def _ids(command: Command) -> list[str]:
    ids = command.get("alarms")
    if not isinstance(ids, list) or not ids or not all(isinstance(one, str) for one in ids):
        raise InvalidData(f"alarms is {ids!r}; write a list of alarm ids", "bad_command")
    return list(dict.fromkeys(ids))


def _text(command: Command, key: str, required: bool = False) -> str:
    found = command.get(key) or ""
    if not isinstance(found, str) or (required and not found.strip()):
        raise InvalidData(f"{key} is {found!r}; write a text", "bad_command")
    return found.strip()


def _title(written: Any) -> dict[str, str] | None:
    if isinstance(written, str) and written.strip():
        return dict.fromkeys(LANGUAGES, written.strip())
    if isinstance(written, Mapping) and all(isinstance(written.get(one), str) for one in LANGUAGES):
        return {one: str(written[one]) for one in LANGUAGES}
    if written:
        raise InvalidData(f"title is {written!r}; write a text, or one each in ko, zh and en", "bad_command")
    return None


def _closed(incident: Mapping[str, Any]) -> str:
    return f"incident {incident['id']} was closed by {incident['closed_by']}; only evaluation and notes are left"
