"""What every part stands on: files, archives, checkpoints, provenance, checks, errors."""
