package wire

// Error says why a message is refused. After it nothing on the connection makes
// sense any more: it is answered, and closed.
type Error struct {
	Status int    // 400, 414, 417, 431, 501 or 505
	Reason string // for the log
}

func (e *Error) Error() string { return "request: " + e.Reason }

func bad(reason string) *Error { return &Error{400, reason} }

// The reasons. They are made once, so that refusing costs nothing.
var (
	errEmptyLines   = bad("too many empty lines before it")
	errMethod       = bad("method is not a token")
	errNoTarget     = bad("no target")
	errTarget       = bad("bad byte in the target")
	errTargetForm   = bad("target is of no form that the method has")
	errVersion      = bad("malformed version")
	errFold         = bad("folded line")
	errNoColon      = bad("field without a colon")
	errBlankColon   = bad("blank before the colon of a field")
	errName         = bad("bad byte in the name of a field")
	errControl      = bad("control byte in a field")
	errHosts        = bad("more than one Host")
	errNoHost       = bad("no Host")
	errHost         = bad("bad byte in the host")
	errPort         = bad("a port that is no number")
	errLength       = bad("malformed Content-Length")
	errLengths      = bad("more than one Content-Length")
	errLengthCoding = bad("Content-Length beside a Transfer-Encoding")
	errCoding       = bad("malformed Transfer-Encoding, or chunked not once and last")
	errOldCoding    = bad("Transfer-Encoding in HTTP/1.0")
	errTrailerNames = bad("Trailer names a field that no trailer may be")

	errTargetLong  = &Error{414, "target too long"}
	errExpectation = &Error{417, "unknown expectation"}
	errHeadLong    = &Error{431, "head too long"}
	errFields      = &Error{431, "too many fields"}
	errUnknownCode = &Error{501, "unknown transfer coding"}
	errOtherMajor  = &Error{505, "version is not HTTP/1"}

	errChunkSize   = bad("malformed size of a chunk")
	errChunkEnd    = bad("chunk without its end")
	errExtension   = bad("chunk extension too long, or with a control byte")
	errOverhead    = bad("more chunk framing than data")
	errTrailer     = bad("malformed trailer")
	errTrailerLong = &Error{431, "trailers too long"}
)
