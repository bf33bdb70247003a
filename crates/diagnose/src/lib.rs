//! Symptoms, localisation, verdict, evidence. Pure functions over tables.
