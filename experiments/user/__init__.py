"""What people bring: code, networks, feature spaces, and the names that they type."""
