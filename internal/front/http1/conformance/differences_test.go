package conformance

// difference names a behaviour in which our server is meant to differ.
type difference string

// The text of each is the reason; the tests ask by the name.
const (
	headerTimeoutAnswer difference = "a head that takes too long is answered by 408, as nginx and Apache do: net/http closes without a word"
	longLine            difference = "a request line past 16 KiB is 414, as RFC 9112 section 3 asks: net/http knows only 431"
	lengthAndCoding     difference = "Content-Length beside Transfer-Encoding is 400, as smuggling needs the two to disagree (RFC 9112 section 6.3): net/http ignores the length"
	codingIn10          difference = "Transfer-Encoding in HTTP/1.0 is 400, since older software does not see that body (RFC 9112 section 6.1): net/http ignores the coding"
	repeatedLength      difference = "a repeated Content-Length is 400, also when both say the same: net/http takes them for one"
	folding             difference = "a folded line is 400, as RFC 9112 section 5.2 allows: net/http joins it"
	bareCR              difference = "a CR without LF is 400 wherever it stands (RFC 9112 section 2.2): net/http lets it end a line in places"
	otherVersion        difference = "the preface of HTTP/2 is 505: net/http lets a handler take over the connection"
	closeWins           difference = "close beats keep-alive in one Connection field (RFC 9112 section 9.3): net/http keeps such a connection of HTTP/1.0"
	trailers            difference = "trailers of a request are dropped: net/http hands them to the handler apart"
	unwantedBody        difference = "a body that the client holds back for 100 Continue is not waited for once the answer is out: net/http reads on until its client goes"
	lastLine            difference = "the line behind the last chunk ends with CR LF, as RFC 9112 section 7.1 says: net/http takes a bare LF if more follows"
	serverKey           difference = "the context has no http.ServerContextKey: there is no http.Server"
)

// differs reports whether a test is to expect our way.
func (m mode) differs(difference) bool { return !m.library() }
