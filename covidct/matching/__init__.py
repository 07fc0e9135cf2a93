"""The parts of the duplicate search: local features, candidate pairs, geometric verification."""
