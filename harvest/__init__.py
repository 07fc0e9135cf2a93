"""Harvest: preprints, PDFs, figures and captions, negatives and unlabelled lung CT."""
