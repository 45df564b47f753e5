"""Commands, one per task of a user: thin, each a plain script and a Ray job's entry point. Only jobs print."""
