"""What each experiment varies: one file per command, with its options, their defaults, and its presets."""
