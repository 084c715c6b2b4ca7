package journal

// allocatesAhead: the system gives files their place before they are written.
const allocatesAhead = true
