// Drives a broker with ngsijs (npm): `drive.cjs URL NOTIFY_URI`, the token in TOKEN; prints what it saw as JSON.
"use strict";
const NGSI = require("ngsijs");

const [url, notify] = process.argv.slice(2);
const headers = { Authorization: `Bearer ${process.env.TOKEN}` };
const { ld } = new NGSI.Connection(url, { request_headers: headers });
const id = "urn:ngsi-ld:Room:js:1";
const CORE = "https://uri.etsi.org/ngsi-ld/v1/ngsi-ld-core-context.jsonld";
const at = (hour) => `2026-11-22T${hour}:00:00Z`;
const temperature = (value, hour) => ({ type: "Property", value, unitCode: "CEL", observedAt: at(hour) });

async function main() {
  const seen = {};
  const made = await ld.createEntity({ id, type: "Room", temperature: temperature(19, "09"), "@context": CORE });
  seen.location = made.location;
  seen.again = await ld.createEntity({ id, type: "Room", "@context": CORE }).catch((error) => error.constructor.name);
  seen.read = (await ld.getEntity({ id, keyValues: true })).entity.temperature;
  seen.query = (await ld.queryEntities({ type: "Room", q: "temperature>18", count: true })).count;
  const subscription = await ld.createSubscription({
    type: "Subscription",
    entities: [{ type: "Room" }],
    watchedAttributes: ["temperature"],
    notification: { endpoint: { uri: notify, accept: "application/json" } },
    "@context": CORE,
  });
  const wanted = subscription.subscription.id;
  seen.subscription = (await ld.getSubscription(wanted)).subscription.id === wanted;
  await ld.updateEntityAttributes({ id, temperature: temperature(25, "10") });
  seen.changed = (await ld.getEntity({ id, keyValues: true })).entity.temperature;
  await ld.appendEntityAttributes({ id, humidity: { type: "Property", value: 0.4 }, "@context": CORE });
  seen.humidity = (await ld.getEntity({ id, keyValues: true })).entity.humidity;
  seen.types = (await ld.listTypes()).results;
  const asked = { type: "Room", attrs: "temperature", timerel: "after", timeAt: at("08"), temporalValues: true };
  const ends = Date.now() + 30000;
  do {
    seen.temporal = (await ld.queryTemporalEntities(asked)).results[0]?.temperature?.values;
  } while ((seen.temporal?.length ?? 0) < 2 && Date.now() < ends);
  await ld.deleteSubscription(wanted);
  await ld.deleteEntity(id);
  seen.gone = await ld.getEntity(id).catch((error) => error.constructor.name);
  console.log(JSON.stringify(seen));
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
