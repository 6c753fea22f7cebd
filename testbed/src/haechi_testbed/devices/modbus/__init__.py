"""Virtual PLCs, relays and RTUs that answer over Modbus TCP. Used by the parts whose devices are polled."""
