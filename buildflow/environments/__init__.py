"""Where a recipe finds its programs: one file each behind `buildflow.environments.base.Environment`."""
