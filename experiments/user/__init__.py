"""The user's part: code, networks, feature spaces, and the names that users type."""
