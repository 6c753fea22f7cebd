"""The parts of the simulated city the runner moves: each joins a twin with its virtual devices."""
