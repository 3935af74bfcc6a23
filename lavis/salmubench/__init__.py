"""SALMUBench's ten metrics, and ours next to them, as functions of features; values are fractions, not percent."""
