"""What each command does; `haechi.cli` reads the arguments and calls these."""
