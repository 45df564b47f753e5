"""Runs the science: Ray session, grid and packs, LLM actors, Parquet store, MLflow projector. Imports valence alone."""
