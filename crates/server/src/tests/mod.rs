//! Whole-server tests over tables in memory.
