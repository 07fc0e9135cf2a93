"""COVID-19 in chest CT: a curated, versioned dataset. Needs neither torch nor the packages that build it."""
