"""Comparisons on the same virtual patients: statistics, reports, benchmark, reproductions."""
