"""What a person does, one file a verb: each composes the rooms below and does nothing else."""
