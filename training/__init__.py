"""Training of learned agents; needs the extra ``oncogym[train]``.

Nothing is imported here: :mod:`oncogym.training.runs` loads torch, the rest does not.
"""
