"""The main job: protocols, rules, plans and trained policies on the same patients."""
