"""Studies of rules and machines: what `relaxon bench` and `relaxon estimate` run."""
