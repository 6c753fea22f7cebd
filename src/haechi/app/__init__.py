"""The one place that joins services to plug-ins: settings, roles, and the supervisor that runs them. Used by the
CLI alone."""
