"""Curation: figures become candidates, candidates become reviewed single CT images."""
