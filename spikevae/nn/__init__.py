"""The papers, readable as written."""
