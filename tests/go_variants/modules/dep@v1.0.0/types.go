package dep

// Request is called like one of another package.
type Request struct{ Number int }
