//! Loads the BPF programs, reads their maps and iterators, yields raw edge readings. The only unsafe code.
