"""Context source registrations (clauses 5.9, 5.10, 5.12, 4.3.6): who else holds what, which of them an operation has to
ask, and how what they answer becomes one answer."""
