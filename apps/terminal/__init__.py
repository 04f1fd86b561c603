"""How commands end, show progress and warn."""
