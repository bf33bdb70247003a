//! A small company in network namespaces: services, traffic, faults with known truth.
