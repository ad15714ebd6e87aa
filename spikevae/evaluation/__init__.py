"""Evaluation that another lab can reproduce. `docs/evaluation.md` says how every number is computed.

The doors: `spikevae.evaluation.settings.EvaluationConfig` (no torch), `spikevae.evaluation.command.evaluate`,
`spikevae.evaluation.scores` (tables and JSON), `spikevae.evaluation.reports.results` (docs/results.md).
"""
