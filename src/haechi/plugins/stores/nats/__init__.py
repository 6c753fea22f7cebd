"""The log and the bus on NATS: `server` runs nats-server as a child, `log` is the JetStream stream, `bus` the
notices."""
