"""The science: arrays, tables and torch modules, from stories and recordings to a verdict. No Ray, vLLM or MLflow."""

from valence._torchaudio import tolerate_foreign_torchaudio

tolerate_foreign_torchaudio()
