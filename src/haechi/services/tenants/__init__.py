"""Tenants (NGSI-LD clause 4.14): the same stores and the same log, with names that never meet."""
