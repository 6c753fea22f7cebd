"""HJ 212, China's transmission protocol for pollution monitors, in three pure layers: `framing`, `packet`, `codec`."""
