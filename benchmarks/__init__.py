"""What the studio costs, as ratios against the bare thing in the same run. `python -m benchmarks` writes it down."""
