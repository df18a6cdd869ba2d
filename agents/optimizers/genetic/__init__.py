"""A genetic algorithm over schedules of doses in time slots."""
