"""OPC UA as a client speaks it: sessions, security, values. Used by the adapter `opcua`; needs the library asyncua."""
