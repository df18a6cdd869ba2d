"""The EMT6/Ro fractionation study."""
