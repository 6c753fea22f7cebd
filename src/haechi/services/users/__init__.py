"""Who may use the platform: people with roles and sessions, devices with secrets. For faces, gateway and CLI."""
