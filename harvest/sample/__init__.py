"""The embedded corpus: drawn preprints, articles, cases and volumes with known truth, and the server for them."""
