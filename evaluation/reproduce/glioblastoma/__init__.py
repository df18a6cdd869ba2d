"""The glioblastoma documentation."""
