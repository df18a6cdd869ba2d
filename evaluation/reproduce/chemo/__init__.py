"""The chemotherapy tutorial."""
