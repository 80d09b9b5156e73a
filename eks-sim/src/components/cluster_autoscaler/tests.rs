//! Small clusters from text, run to the end.
