export function Edge() { return null; }
