// An OPC UA server on node-opcua, driven by JSON lines: settings as the first argument, orders on standard input.
"use strict";
const path = require("node:path");
const readline = require("node:readline");
const { setTimeout: delay } = require("node:timers/promises");
const { OPCUACertificateManager } = require("node-opcua-certificate-manager");
const { nodesets } = require("node-opcua-nodesets");
const { MessageSecurityMode, SecurityPolicy } = require("node-opcua-secure-channel");
const { OPCUAServer } = require("node-opcua-server");
const { StatusCodes } = require("node-opcua-status-code");
const { DataType, Variant, VariantArrayType } = require("node-opcua-variant");

// a tenth of the standard address space: it starts in a third of the time
const MINI = path.join(path.dirname(require.resolve("node-opcua-address-space/package.json")), "nodesets/mini.Nodeset2.xml");
const options = JSON.parse(process.argv[2]);
const variables = new Map();
const writes = [];

function say(told) {
  process.stdout.write(`${JSON.stringify(told)}\n`);
}

function variant(type, value) {
  const arrayType = Array.isArray(value) ? VariantArrayType.Array : VariantArrayType.Scalar;
  const found = value === "NaN" ? Number.NaN : type === "DateTime" ? new Date(value) : value;
  return new Variant({ dataType: DataType[type], arrayType, value: found });
}

function addVariable(namespace, folder, { id, type, value, writable, stuck, sticksAbove, locked }) {
  const access = writable ? "CurrentRead | CurrentWrite" : "CurrentRead";
  const made = namespace.addVariable({
    componentOf: folder,
    browseName: id,
    nodeId: `s=${id}`,
    dataType: type,
    valueRank: Array.isArray(value) ? 1 : -1,
    accessLevel: access,
    userAccessLevel: access,
    minimumSamplingInterval: 10,
  });
  made.setValueFromSource(variant(type, value));
  if (writable) {
    const write = made.writeValue;
    made.writeValue = function (context, dataValue, ...more) {
      const callback = more[more.length - 1];
      writes.push([id, dataValue.value.value]);
      if (locked) return callback(null, StatusCodes.BadUserAccessDenied);
      if (stuck || dataValue.value.value > sticksAbove) return callback(null, StatusCodes.Good); // acknowledged and forgotten
      return write.call(this, context, dataValue, ...more);
    };
  }
  variables.set(id, { made, type });
}

function set({ id, value, status, source, type }) {
  const known = variables.get(id);
  const at = source ? new Date(source) : new Date();
  known.made.setValueFromSource(variant(type ?? known.type, value), StatusCodes[status ?? "Good"], at);
}

async function churn({ ids, count, everyMs }) {
  // Counts upwards in each of these variables, `count` times, so that one that is missing is seen. This server samples:
  // what is overwritten before it looked never was in its queue. It waits in parts, so that after the machine stood
  // still the sampling that is due has its turn before the next value.
  for (let number = 1; number <= count; number += 1) {
    for (let part = 0; part < 3; part += 1) await delay(everyMs / 3);
    for (const id of ids) set({ id, value: number });
  }
  say({ churned: count });
}

async function main() {
  const serverCertificateManager = new OPCUACertificateManager({
    automaticallyAcceptUnknownCertificate: options.accept !== false,
    rootFolder: path.join(options.folder, "pki"),
  });
  const server = new OPCUAServer({
    port: options.port,
    hostname: "127.0.0.1",
    host: "127.0.0.1",
    resourcePath: options.path ?? "",
    nodeset_filename: [options.standard ? nodesets.standard : MINI],
    serverCertificateManager,
    userCertificateManager: serverCertificateManager,
    securityPolicies: (options.policies ?? ["None"]).map((one) => SecurityPolicy[one]),
    securityModes: (options.modes ?? ["None"]).map((one) => MessageSecurityMode[one]),
    allowAnonymous: options.anonymous !== false,
    disableDiscovery: false, // a client asks for the endpoints before it can choose one
    userManager: { isValidUser: (user, password) => (options.users ?? {})[user] === password },
    buildInfo: { productName: "peer", buildNumber: "1", buildDate: new Date(0) },
    serverInfo: { applicationUri: "urn:peer:opcua" },
  });
  await server.initialize();
  Object.assign(server.engine.serverCapabilities, { maxSessions: 1000, ...options.limits });
  const space = server.engine.addressSpace;
  const namespace = space.registerNamespace("urn:peer:plant");
  const folder = namespace.addFolder(space.rootFolder.objects, { browseName: "Plant" });
  for (const one of options.nodes ?? []) addVariable(namespace, folder, one);
  await server.start();
  const orders = {
    set: (order) => set(order),
    add: (order) => addVariable(namespace, folder, order.node),
    churn: (order) => churn(order),
    reset: () => {
      for (const one of options.nodes ?? []) set(one);
      writes.length = 0;
      say({ reset: true });
    },
    limits: ({ limits }) => {
      Object.assign(server.engine.serverCapabilities, limits);
      say({ limits });
    },
    writes: () => say({ writes }),
    accept: ({ unknown }) => {
      serverCertificateManager.automaticallyAcceptUnknownCertificate = unknown;
      say({ accept: unknown });
    },
    count: () => say({ count: server.engine.currentSubscriptionCount }),
    forget: () => {
      // ends every session with what it holds, as a restart does
      for (const one of Object.values(server.engine._sessions)) server.engine.closeSession(one.authenticationToken, true, "Terminated");
      say({ forget: server.engine.currentSubscriptionCount });
    },
  };
  readline.createInterface({ input: process.stdin }).on("line", (line) => {
    const order = JSON.parse(line);
    orders[order.order](order);
  });
  process.stdin.on("end", () => process.exit(0));
  const index = namespace.index;
  const endpoint = server.endpoints[0];
  say({ port: options.port, namespace: index, certificate: endpoint.getCertificate().toString("hex") });
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
