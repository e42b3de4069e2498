"""From targets to jobs: matching rules, resolving the DAG, compiling it, the snapshot."""
