//! Intake, API, metrics and the embedded UI.
