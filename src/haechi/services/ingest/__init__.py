"""From payloads to the log: maps, checks, quarantines, accounts. Adapters reach it as `ports.Intake`."""
