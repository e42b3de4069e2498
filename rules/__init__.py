"""The rule library: what `include <name.flow>` reads. It holds no code; see `buildflow.library`."""
