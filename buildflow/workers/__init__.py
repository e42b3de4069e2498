"""Where jobs run: one file each behind `buildflow.workers.base.Worker`. What a job is, is not known here."""
