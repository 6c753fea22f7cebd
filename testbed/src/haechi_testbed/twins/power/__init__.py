"""The electricity of a city: medium and low voltage as physics, relays and RTUs over Modbus, smart meters over MQTT."""
