"""What happens when a treatment is not given, or the patient is not, as planned."""
