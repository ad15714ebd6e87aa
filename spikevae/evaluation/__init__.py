"""Evaluation that another lab can reproduce. `docs/evaluation.md` says how every number is computed.

Begin with `spikevae.evaluation.settings.EvaluationConfig` (no torch) and `spikevae.evaluation.command.evaluate`; then
`spikevae.evaluation.scores` (tables and JSON) and `spikevae.evaluation.reports.results` (docs/results.md).
"""
