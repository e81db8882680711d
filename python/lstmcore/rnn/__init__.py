"""Running cells over sequences."""
