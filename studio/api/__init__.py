"""HTTP: the page's own routes. Every dialect only translates; the studio behind them is the same."""
