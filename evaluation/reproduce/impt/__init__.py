"""The proton-planning tutorial."""
