"""What is timed, how, on which machine, and that it is correct."""
