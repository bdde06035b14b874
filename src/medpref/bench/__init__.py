"""A grid's cells carried out, and a leaderboard that claims what its intervals allow."""
