"""The ledger: a job's durable state and the only truth."""
