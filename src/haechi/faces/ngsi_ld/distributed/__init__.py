"""Distributed operations (clauses 4.3.6, 5.6, 5.7, 6.3.17, 6.3.18): what of a request concerns other context sources is
asked of them, and their answers become part of ours. Nothing of this runs while no source is registered."""
