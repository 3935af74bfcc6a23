"""SALMUBench's ten metrics and what stands beside them, as functions of features; values are fractions, not percent."""
