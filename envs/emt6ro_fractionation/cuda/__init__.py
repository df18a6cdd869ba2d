"""The automaton on an NVIDIA GPU; imported only when one is asked for."""
