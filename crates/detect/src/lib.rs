//! Detectors and the alert life cycle. Pure: windows in, transitions out.
