"""The seam between the papers and speed."""
