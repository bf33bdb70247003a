//! Who an address was at a time: directory, local sources, static rules.
