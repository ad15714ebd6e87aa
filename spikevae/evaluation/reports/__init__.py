"""What an evaluation found, as a table, a page and docs/results.md."""
