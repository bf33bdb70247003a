export function Diagnose() { return null; }
