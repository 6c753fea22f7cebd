"""The one place that joins services to plug-ins: settings, roles, and the supervisor that runs them. Used by the
CLI alone."""

from haechi.core.optional import without

with without("rich"):
    import structlog.dev  # noqa: F401 - before anybody else imports it
