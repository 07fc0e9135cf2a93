"""The parts of the duplicate search: local features, candidate pairs, geometric verification."""

import logging

logging.getLogger("faiss.loader").setLevel(logging.WARNING)  # it tells of every build that it tries and has not
