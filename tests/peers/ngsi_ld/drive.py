"""Drives a broker with ngsildclient (PyPI): `drive.py PORT NOTIFY_URI`, the token in TOKEN.

Prints what it saw as JSON."""

import json
import os
import sys
import time
from datetime import UTC, datetime

import requests
from ngsildclient import Client, Entity, SubscriptionBuilder


class Bearer(requests.auth.AuthBase):
    def __call__(self, request):
        request.headers["Authorization"] = "Bearer " + os.environ["TOKEN"]
        return request


def wait_for(ask):
    ends_at = time.monotonic() + 30
    while not (answer := ask()) and time.monotonic() < ends_at:
        time.sleep(0.2)
    return answer


seen = {}
port, notify = int(sys.argv[1]), sys.argv[2]
client = Client("127.0.0.1", port, custom_auth=Bearer(), verbose=False)
seen["connected"] = client.is_connected()
instant = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)


def station(number):
    made = Entity("AirQualityObserved", f"py:{number}")
    made.tprop("dateObserved", instant)
    made.prop("NO2", 20 + number, unitcode="GQ", observedat=instant)
    made.rel("refPointOfInterest", "PointOfInterest:RZ:MainSquare")
    return made.loc((37.6152, 126.7156))


def no2(number):
    return client.get(station(number).id)["NO2"]["value"]


seen["created"] = client.create(station(1))
seen["read"] = no2(1)
seen["exists"] = [client.exists(station(1)), client.exists(station(9))]
seen["batch"] = client.upsert(*[station(number) for number in range(2, 6)]).ok
seen["count"] = client.count(type="AirQualityObserved")
seen["query"] = sorted(one.id for one in client.query(type="AirQualityObserved", q="NO2>=23"))
seen["types"] = "AirQualityObserved" in client.types.list()

subscription = SubscriptionBuilder(notify).select_type("AirQualityObserved").watch(["NO2"]).build()
id = client.subscriptions.create(subscription)
seen["subscribed"] = client.subscriptions.exists(id)

changed = station(1)
changed.prop("NO2", 55, unitcode="GQ", observedat=instant.replace(hour=10))
seen["updated"] = client.update(changed)
seen["changed"] = no2(1)
seen["temporal"] = wait_for(lambda: client.temporal.get(changed, attrs=["NO2"]))

seen["unsubscribed"] = client.subscriptions.purge()
seen["deleted"] = client.delete(station(2))
seen["left"] = client.count(type="AirQualityObserved")
client.close()
print(json.dumps(seen, default=str))
