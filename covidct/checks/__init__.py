"""What the audit looks for, one module per question; `covidct.audit` runs them over a folder of pictures."""
