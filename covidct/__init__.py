"""COVID-19 in chest CT: a curated, versioned dataset. Needs neither torch nor the packages that build it.

>>> import covidct
>>> ds = covidct.load("v1")          # doctest: +SKIP
>>> ds.test.evaluate(scores).auc     # doctest: +SKIP
"""

from covidct import metrics, splits
from covidct.download import fetch, verify, versions
from covidct.reader import Dataset, DatasetError, Subset, load

__all__ = ["Dataset", "DatasetError", "Subset", "fetch", "load", "metrics", "splits", "verify", "versions"]
